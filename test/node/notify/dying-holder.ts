// A holder in a process of its own that keeps items as fast as it can, and says which are on disk, until it is killed.
import { writeSync } from 'node:fs';
import { PendingTable } from '../../../node/notify/pending-table.ts';
import { openTables } from '../../../node/notify/table.ts';

const [dir = ''] = process.argv.slice(2);
const table = new PendingTable(openTables(dir));
const to = Buffer.alloc(32, 1);
for (let number = 0; ; number += 20) {
  await Promise.all(
    Array.from({ length: 20 }, async (_, offset) => {
      const id = Buffer.alloc(32);
      id.writeUInt32BE(number + offset);
      await table.put(
        to,
        id,
        { bytes: Buffer.alloc(1000, number + offset), origin: 'x', at: 0 },
        Buffer.from('certificate'),
      );
      writeSync(1, `${number + offset}\n`);
    }),
  );
}

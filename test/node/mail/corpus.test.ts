import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fetchMessage, storeMessage } from '../../../node/mail/message.ts';
import type { Address } from '../../../policy/address.ts';
import { testdata } from '../../testdata.ts';
import { BlockShelf } from './block-shelf.ts';

// The corpus is not part of the repository. The facts themselves are held by message.test.ts.
const corpus = testdata('mime-corpus');

describe.skipIf(corpus === undefined)(
  'every message of the MIME corpus (skipped where ../shared/testdata is absent)',
  () => {
    const files =
      corpus === undefined
        ? []
        : readdirSync(corpus, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile() && !/^(LICENSE|MANIFEST|README)/.test(entry.name))
            .map((entry) => path.join(entry.parentPath, entry.name));

    it('is there in number', () => {
      expect(files.length).toBeGreaterThanOrEqual(344);
    });

    it.each([
      ['as it is', 1],
      ['repeated until it is cut into parts', 60],
    ])('comes back octet for octet, %s', async (_why, times) => {
      const differing: string[] = [];
      for (const file of files) {
        const one = readFileSync(file);
        const bytes =
          times === 1 ? one : Buffer.concat(Array.from({ length: times }, () => one)).subarray(0, 4_000_000);
        const shelf = new BlockShelf();
        const lease = { identity: 'alice@example.org' as Address, until: 1 };
        const ref = await storeMessage(shelf, bytes, { salt: Buffer.alloc(32, 1), lease });
        if (Buffer.compare(await fetchMessage(shelf, ref), bytes) !== 0) differing.push(file);
      }
      expect(differing).toEqual([]);
    });
  },
);

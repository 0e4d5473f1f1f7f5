import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Evidence, readConduct } from '../../node/overlay/conduct.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

export const nodeEvidence: Command = {
  name: 'node evidence',
  summary: 'what this node saw other members do that no honest one does',
  details: `  false-answer    a holder answered with what proves false (other bytes, a forged head, a refusal without its proof)
  forged-receipt  it claimed a receipt that the recipient did not sign
  forged-member   it spread a member whose certificate or record does not hold
  broken-line     it broke the rules of frames
  two-heads       a writer signed two heads of one version of a log; two machines of one user that could not see each other, or a
                  restored backup, do that too: then the log was joined, and nothing is wrong
A node that was caught three times within an hour is asked last. \`epost node revoke\` puts it out of the ring.
Proofs are signed bytes that convince anybody; --out writes them into files.`,
  positionals: [],
  options: {
    home: homeOption,
    json: jsonOption,
    out: { value: 'DIR', help: 'write the proofs into this folder, one file for each signed part' },
  },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const evidence = await readConduct(path.join(layout.node.folder, 'conduct'));
    const out = given.values['out'];
    const files = out === undefined ? [] : writeProofs(out, evidence);
    if (given.switches.has('json'))
      printJson({ evidence: evidence.map(({ proofs, ...row }) => ({ ...row, proofs: proofs.length })), files });
    else {
      const rows = evidence.map(({ subject, offence, count, lastAt, what, proofs }) => [
        new Date(lastAt).toISOString().slice(0, 19),
        `${subject.kind} ${subject.name}`,
        offence,
        String(count),
        String(proofs.length),
        printable(what),
      ]);
      print(rows.length === 0 ? 'nothing' : tableText(['LAST', 'WHO', 'OFFENCE', 'TIMES', 'PROOFS', 'THE LAST'], rows));
      for (const file of files) print(file);
    }
    return exitCodes.done;
  },
};

function writeProofs(dir: string, evidence: readonly Evidence[]): string[] {
  mkdirSync(dir, { recursive: true });
  return evidence.flatMap(({ subject, offence, proofs }) =>
    proofs.flatMap((proof, number) =>
      proof.map((bytes, part) => {
        const file = path.join(dir, `${offence}-${subject.name.slice(0, 64)}-${number + 1}-${part + 1}.bin`);
        writeFileSync(file, bytes);
        return file;
      }),
    ),
  );
}

// The IMAP listener of a node of ours over a folder of 100,000 messages (or the number given), in a process of its own on a real disk; the client, of few
// words and over TLS, has this one. `imap-dovecot.ts` asks the same of Dovecot too.
import { ImapChild } from '../node/access/imap-child.ts';
import { measure, shown } from './imap/measure.ts';

const server = await ImapChild.start();
try {
  const { figures, memory } = await measure(server, { count: Number(process.argv[2] ?? 100_000), distinct: 2_000 });
  for (const figure of figures) {
    const [speed, cpu] = shown(figure);
    console.log(`  ${figure.what.padEnd(40)} ${speed.padStart(12)}  CPU ${cpu.padStart(10)}`);
  }
  console.log(
    `  memory (PSS; of that not of files)         ${memory.pss.toFixed(0)} MiB  ${memory.anonymous.toFixed(0)} MiB`,
  );
} finally {
  await server.stop();
}

import { type Suppressed, Suppression } from '../../gateway/relay/suppression.ts';
import { parseAddress } from '../../policy/address.ts';
import { InputFault } from '../config/problem.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { queueOptions, withQueue } from './queue-opened.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const addressWord = { name: 'ADDRESS', help: 'the address of a recipient outside of the ring' };
const headings = ['ADDRESS', 'SINCE', 'UNTIL', 'WHY', 'MESSAGES'];

export const suppressionList: Command = {
  name: 'suppression list',
  summary: 'recipients outside that are not tried, since two messages proved their addresses dead',
  details: 'MESSAGES are the trace ids of those that were refused; `epost trace` shows what was said to them.',
  positionals: [],
  options: queueOptions,
  run: (given) =>
    withQueue(given, async (queue) => {
      const list = await new Suppression(queue, Date.now).list();
      if (given.switches.has('json')) printJson(list);
      else print(tableText(headings, list.map(row)));
      return exitCodes.done;
    }),
};

export const suppressionAdd: Command = {
  name: 'suppression add',
  summary: 'do not try an address outside for two weeks; whoever writes to it is told so at once',
  positionals: [addressWord],
  options: { ...queueOptions, because: { value: 'TEXT', help: 'why; senders read it' } },
  run: (given) =>
    withQueue(given, async (queue) => {
      const address = addressOf(given);
      await new Suppression(queue, Date.now).add(address, given.values['because'] ?? 'no reason given');
      if (given.switches.has('json')) printJson({ address, suppressed: true });
      else print(`${address} is not tried any more`);
      return exitCodes.done;
    }),
};

export const suppressionRemove: Command = {
  name: 'suppression remove',
  summary: 'try an address again, and forget what was held against it',
  positionals: [addressWord],
  options: queueOptions,
  run: (given) =>
    withQueue(given, async (queue) => {
      const address = addressOf(given);
      const wasThere = await new Suppression(queue, Date.now).clear(address);
      if (given.switches.has('json')) printJson({ address, removed: wasThere });
      else print(wasThere ? `${address} is tried again` : `nothing was held against ${address}`);
      return wasThere ? exitCodes.done : exitCodes.notFound;
    }),
};

/** The domain in its canonical form, as recipients are kept. */
function addressOf(given: Given): string {
  const text = given.positionals[0] ?? '';
  const parsed = parseAddress(text);
  if (parsed.kind === 'address') return `${text.slice(0, text.lastIndexOf('@'))}@${parsed.domain}`;
  const suggestion = 'give one such as someone@example.net';
  throw new InputFault([{ file: 'command line', path: '', found: text, expected: 'a mail address', suggestion }]);
}

function row({ address, proofs, because, since, until }: Suppressed): string[] {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
  const why = because ?? proofs.at(-1)?.said ?? '';
  const messages = proofs.map(({ trace }) => trace).join(', ');
  return [printable(address), day(since), day(until), printable(why), printable(messages)];
}

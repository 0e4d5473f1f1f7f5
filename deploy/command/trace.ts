import type { Decision } from '../../policy/decide.ts';
import { explain } from '../../policy/explain.ts';
import { InputFault } from '../config/problem.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { pastEvidence } from '../trace/decisions.ts';
import { firstTraceIdAt, readTraceId } from '../trace/id.ts';
import { factText, type StoredEvent, TraceStore } from '../trace/store.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption, numberBetween } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';
import { verifyTrace } from './trace-verify.ts';

const defaultRecent = 20;
const dayMs = 86_400_000;

export const trace: Command = {
  name: 'trace',
  summary: 'what happened to one message, from the first byte to the receipt, and why',
  details:
    'The id stands in our SMTP replies, in the X-ePOST-Trace field, in the log, and in `epost queue list --json`. Without an id: the newest messages.\nTimelines are kept 30 days, each on the machines that the message passed. --json always holds everything.\n--verify checks the gateway’s signed record of how a message came in, without asking anybody: its signature and certificate, and with --message also that the message is the one, octet for octet, and its DKIM signatures, with the keys that were in DNS then. Exit code 1 if anything does not hold.',
  positionals: [
    {
      name: 'ID',
      help: 'a trace id',
      optional: true,
      check: (text) => (readTraceId(text) === undefined ? 'a trace id of 16 letters and digits' : undefined),
    },
  ],
  options: {
    home: homeOption,
    json: jsonOption,
    full: { help: 'with an id: also all that was known, and the rules that did not match' },
    verify: { help: 'with an id: check the signed record of how the message came in' },
    message: { value: 'FILE', help: 'with --verify: the message, as a mail program saves its source' },
    last: { value: 'N', help: `without an id: how many (default: ${defaultRecent})`, check: numberBetween(1, 10_000) },
  },
  run: async (given) => {
    checkTogether(given);
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const store = new TraceStore({
      folder: layout.trace,
      now: Date.now,
      onFault: (fault) => process.stderr.write(`epost: ${String(fault)}\n`),
    });
    try {
      const id = given.positionals[0] === undefined ? undefined : readTraceId(given.positionals[0]);
      if (id === undefined)
        return showRecent(store, Number(given.values['last'] ?? defaultRecent), given.switches.has('json'));
      const events = store.read(id);
      if (events.length === 0) {
        if (given.switches.has('json')) printJson({ id, events: [] });
        process.stderr.write(
          `epost: nothing is known of ${id} on this home; timelines are kept 30 days, on the machines the message passed\n`,
        );
        return exitCodes.notFound;
      }
      if (given.switches.has('verify'))
        return await verifyTrace(layout, id, events, given.values['message'], given.switches.has('json'));
      if (given.switches.has('json')) printJson({ id, events });
      else print(timelineText(id, events, given.switches.has('full')));
      return exitCodes.done;
    } finally {
      await store.close();
    }
  },
};

/** What says something only beside something else: a script whose id came out empty must not read `done` from --verify. */
function checkTogether({ positionals, switches, values }: Given): void {
  const noId = positionals[0] === undefined;
  const lacks = (path: string, expected: string, suggestion: string) => ({
    file: 'command line',
    path,
    found: 'it alone',
    expected,
    suggestion,
  });
  const problems = [
    ...['verify', 'full']
      .filter((name) => noId && switches.has(name))
      .map((name) => lacks(`--${name}`, 'an ID with it', '`epost trace` shows the ids of the newest messages')),
    ...(values['message'] !== undefined && !switches.has('verify')
      ? [lacks('--message', '--verify with it', 'see `epost trace --help`')]
      : []),
  ];
  if (problems.length > 0) throw new InputFault(problems);
}

function showRecent(store: TraceStore, count: number, asJson: boolean): number {
  const recent = store
    .recent(firstTraceIdAt(Date.now() - 30 * dayMs), count)
    .map(({ id, at }) => ({ id, at: new Date(at).toISOString(), ...summary(store.read(id)) }));
  if (asJson) printJson(recent);
  else
    print(
      tableText(
        ['ID', 'WHEN', 'FROM', 'TO', 'LAST'],
        recent.map((one) => [
          printable(one.id),
          one.at.slice(0, 19),
          printable(one.from),
          printable(one.to),
          printable(one.last),
        ]),
      ),
    );
  return exitCodes.done;
}

function summary(events: readonly StoredEvent[]): { from: string; to: string; last: string } {
  const fact = (name: string): string => factText(events.find((event) => event[name] !== undefined)?.[name]);
  // That the gateway took a message over says nothing of where it is now.
  const last = events.findLast((event) => event.what !== 'receipt' || !fromGateway(event)) ?? events.at(-1);
  return {
    from: fact('envelopeFrom') || fact('from'),
    to: fact('recipients') || fact('to') || fact('recipient'),
    last: last === undefined ? '' : `${last.what} ${outcomeOf(last)}`.trim(),
  };
}

function fromGateway(event: StoredEvent): boolean {
  return factText(event['recipient']).startsWith('gateway@');
}

// An event has at most one of these.
function outcomeOf(event: StoredEvent): string {
  return factText(event['verdict'] ?? event['reply'] ?? event['result'] ?? event['action']);
}

/** A timeline for people: a line for each event, and each decision explained; what decided nothing only where `full`. */
export function timelineText(id: string, events: readonly StoredEvent[], full = false): string {
  const lines = events.flatMap((event) => {
    const { at, what, ...facts } = event;
    const {
      steps,
      evidence: _evidence,
      provenance: _provenance,
      certificate: _certificate,
      policy,
      reply,
      ...rest
    } = facts;
    // The explanation names the policy and the reply.
    const short = steps === undefined ? { ...rest, policy, reply } : rest;
    const told = Object.entries(short)
      .map(([name, value]): [string, string] => [name, printable(factText(value))])
      .filter(([, text]) => text !== '')
      .map(([name, text]) => `${name}=${text}`);
    const line = `${new Date(at).toISOString()}  ${what.padEnd(10)}  ${told.join('  ')}`;
    return what === 'decision' && steps !== undefined ? [line, ...explained(event, full)] : [line];
  });
  return [`message ${id}`, ...lines].join('\n');
}

/** The stored facts of a decision as the decision that they were. */
export function explained({ steps, evidence, reply, ...facts }: StoredEvent, full: boolean): string[] {
  // Written by this program, but perhaps by an older version of it, and cut where it was very long.
  try {
    const all = JSON.parse(factText(steps)) as Decision['trace'];
    const told = full ? all : all.filter(({ matched }) => matched !== 'no');
    const decision = {
      ...facts,
      policyHash: facts['policy'],
      shadow: facts['shadow'] ?? [],
      trace: told,
      ...(reply === undefined ? {} : { reply: readReply(factText(reply)) }),
    } as unknown as Decision;
    const known =
      full && evidence !== undefined ? pastEvidence(factText(facts['stage']), factText(evidence)) : undefined;
    const left = all.length - told.length;
    return [
      ...(facts['recipient'] === undefined ? [] : [`By the policy of ${factText(facts['recipient'])}:`]),
      ...explain(decision, known).split('\n'),
      ...(left === 0 ? [] : [`${left} rules did not match; --full shows them, and all that was known.`]),
    ]
      .filter((line) => line !== '')
      .map((line) => `    ${printable(line)}`);
  } catch {
    return [`    ${printable(factText(steps))}`];
  }
}

function readReply(text: string): Decision['reply'] {
  const [code = '', enhanced = '', ...words] = text.split(' ');
  return { code: Number(code), enhanced, text: words.join(' ') };
}

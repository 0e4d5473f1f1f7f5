import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { noteAccess } from '../trace/access-log.ts';
import { readTraceId } from '../trace/id.ts';
import { TraceStore } from '../trace/store.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson } from './screen.ts';
import { explained } from './trace.ts';

export const explainCommand: Command = {
  name: 'explain',
  summary: 'why a message was decided as it was: what was known, which rules matched, which did not, and why',
  details:
    'The id stands in our SMTP replies, in the X-ePOST-Trace field and in the log. Decisions are kept 30 days, without content, on the gateway that made them.\nWho looked is written down in trace/access.log.',
  positionals: [
    {
      name: 'ID',
      help: 'a trace id',
      check: (text) => (readTraceId(text) === undefined ? 'a trace id of 16 letters and digits' : undefined),
    },
  ],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const id = readTraceId(given.positionals[0] ?? '') ?? '';
    const store = new TraceStore({
      folder: layout.trace,
      now: Date.now,
      onFault: (fault) => process.stderr.write(`epost: ${String(fault)}\n`),
    });
    try {
      noteAccess(layout.trace, { command: 'explain', of: id, now: Date.now() });
      const decisions = store.read(id).filter(({ what }) => what === 'decision');
      if (given.switches.has('json')) printJson({ id, decisions });
      if (decisions.length === 0) {
        process.stderr.write(
          `epost: no decision on ${id} is known on this home; decisions are kept 30 days, on the gateway that made them (epost trace ${id} shows what else is known)\n`,
        );
        return exitCodes.notFound;
      }
      if (!given.switches.has('json')) {
        const texts = decisions.map((event) =>
          [new Date(event.at).toISOString(), ...explained(event, true)].join('\n'),
        );
        print(`message ${id}\n\n${texts.join('\n\n')}`);
      }
      return exitCodes.done;
    } finally {
      await store.close();
    }
  },
};

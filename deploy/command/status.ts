import { z } from 'zod';
import type { Pause } from '../../queue/queue.ts';
import { loadConfig } from '../config/load.ts';
import { askNode } from '../home/ask-node.ts';
import { type Layout, layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { type Held, heldText, heldWork } from './queue-held.ts';
import { pauseText } from './queue-lanes.ts';
import { withQueue } from './queue-opened.ts';
import { print, printable, printJson, tableText } from './screen.ts';

interface Status {
  readonly peerId: string;
  readonly addresses: readonly string[];
  readonly ring: string;
  readonly members: readonly {
    readonly peerId: string;
    readonly owner: string;
    readonly up: boolean;
    readonly addresses: readonly string[];
  }[];
  readonly store: Readonly<Record<string, number>>;
  readonly notify: Readonly<Record<string, number>>;
  readonly users: readonly { readonly address: string; readonly open: boolean; readonly trouble: string }[];
}

export const status: Command = {
  name: 'status',
  summary: 'how this home is: whether mail is taken, members, store, notifications, mailboxes',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const told = await askNode(layout, 'status', {});
    const queue = await queueStatus(given, layout.config);
    if (told.kind === 'away') {
      if (given.switches.has('json')) printJson({ running: false });
      process.stderr.write(`epost: no node runs on ${layout.home}; start it with \`epost up --home ${layout.home}\`\n`);
      return exitCodes.unavailable;
    }
    const found = told.value as Status;
    const readiness = await askReadiness(layout);
    if (given.switches.has('json')) printJson({ running: true, ...found, readiness, queue });
    else {
      const numbers = (facts: Readonly<Record<string, number>>): string =>
        Object.entries(facts)
          .map(([name, value]) => `${name} ${value}`)
          .join(', ');
      print(`ring ${found.ring}, node ${found.peerId}`);
      for (const { part, ok, why } of readiness?.parts ?? [])
        print(`${part}: ${ok ? 'well' : `NOT WELL${why === undefined ? '' : `: ${printable(why)}`}`}`);
      print(
        tableText(
          ['MEMBER', 'OWNER', 'STATE', 'ADDRESS'],
          found.members.map((one) => [one.peerId, one.owner, one.up ? 'up' : 'down', one.addresses[0] ?? '']),
        ),
      );
      print(`store: ${numbers(found.store)}\nnotifications: ${numbers(found.notify)}`);
      if (queue !== undefined) {
        print(`queue: ${'why' in queue ? queue.why : numbers(queue.counts)}`);
        for (const pause of 'why' in queue ? [] : queue.pauses) print(pauseText(pause));
        for (const held of 'why' in queue ? [] : queue.held) print(heldText(held));
      }
      print(
        tableText(
          ['USER', 'MAILBOX'],
          found.users.map((one) => [one.address, one.open ? 'open' : one.trouble]),
        ),
      );
    }
    return exitCodes.done;
  },
};

const readinessShape = z.object({
  ready: z.boolean(),
  parts: z.array(z.object({ part: z.string(), ok: z.boolean(), why: z.string().optional() })).max(20),
});
const readinessMs = 2_000;

/** What the running parts say of themselves on the health page; undefined where it is switched off or does not answer. */
async function askReadiness(layout: Layout): Promise<z.infer<typeof readinessShape> | undefined> {
  const { http } = loadConfig(layout.config);
  if (http === null) return undefined;
  // What listens on all addresses is asked on loopback.
  const host = http.host === '0.0.0.0' ? '127.0.0.1' : http.host === '::' ? '::1' : http.host;
  const at = `http://${host.includes(':') ? `[${host}]` : host}:${http.port}/readyz`;
  try {
    const answer = await fetch(at, { signal: AbortSignal.timeout(readinessMs) });
    return readinessShape.safeParse(await answer.json()).data;
  } catch {
    return undefined;
  }
}

type QueueStatus =
  | {
      readonly counts: Readonly<Record<string, number>>;
      readonly pauses: readonly Pause[];
      readonly held: readonly Held[];
    }
  | { readonly why: string };

/** Undefined where no gateway runs on this home. A queue that cannot be asked is told, and is no reason not to tell the rest. */
async function queueStatus(given: Given, configFile: string): Promise<QueueStatus | undefined> {
  if (loadConfig(configFile).gateway === undefined) return undefined;
  try {
    let told: QueueStatus | undefined;
    await withQueue(given, async (queue) => {
      told = { counts: await queue.counts(), pauses: await queue.pauses(), held: await heldWork(queue) };
      return exitCodes.done;
    });
    return told;
  } catch (fault) {
    return { why: fault instanceof Error ? fault.message : String(fault) };
  }
}

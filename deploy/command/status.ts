import { askNode } from '../home/ask-node.ts';
import { layoutOf } from '../home/layout.ts';
import { readRing } from '../home/ring-files.ts';
import { type Command, exitCodes } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printJson, tableText } from './screen.ts';

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
  summary: 'how the node of this home is: members, store, notifications, mailboxes',
  positionals: [],
  options: { home: homeOption, json: jsonOption },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const told = await askNode(layout, 'status', {});
    if (told.kind === 'away') {
      if (given.switches.has('json')) printJson({ running: false });
      process.stderr.write(`epost: no node runs on ${layout.home}; start it with \`epost up --home ${layout.home}\`\n`);
      return exitCodes.unavailable;
    }
    const found = told.value as Status;
    if (given.switches.has('json')) printJson({ running: true, ...found });
    else {
      const numbers = (facts: Readonly<Record<string, number>>): string =>
        Object.entries(facts)
          .map(([name, value]) => `${name} ${value}`)
          .join(', ');
      print(`ring ${found.ring}, node ${found.peerId}`);
      print(
        tableText(
          ['MEMBER', 'OWNER', 'STATE', 'ADDRESS'],
          found.members.map((one) => [one.peerId, one.owner, one.up ? 'up' : 'down', one.addresses[0] ?? '']),
        ),
      );
      print(`store: ${numbers(found.store)}\nnotifications: ${numbers(found.notify)}`);
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

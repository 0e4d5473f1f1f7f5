import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectDoor } from '../../node/door/client.ts';
import { type Layout, runFolder } from './layout.ts';

export type NodeAnswer = { readonly kind: 'answered'; readonly value: unknown } | { readonly kind: 'away' };

/** The door's socket of this home. */
export function doorPath(layout: Layout): string {
  return path.join(runFolder(layout), 'door.sock');
}

/** Asks the running node of this home; `away` where none runs, which is no fault: it reads its files when it starts. */
export async function askNode(layout: Layout, method: string, args: unknown): Promise<NodeAnswer> {
  const socket = doorPath(layout);
  if (!existsSync(socket)) return { kind: 'away' };
  const door = connectDoor({ path: socket, log: silent });
  try {
    for (const giveUp = Date.now() + connectMs; !door.connected(); await sleep(20)) {
      if (Date.now() > giveUp) return { kind: 'away' };
    }
    return { kind: 'answered', value: await door.call(method, args) };
  } catch (fault) {
    if ((fault as { code?: string }).code === 'node-away') return { kind: 'away' };
    throw fault;
  } finally {
    await door.close();
  }
}

// A socket on this machine: a node that does not answer in this time has just died, or is too busy to be asked.
const connectMs = 2_000;
const nothing = (): void => undefined;
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing };

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Admin } from '../../node/door/door.ts';
import type { Post } from '../../node/post/post.ts';
import type { Quota } from '../../node/store/claims.ts';
import type { Layout } from '../home/layout.ts';
import { forwardOf } from './forward-admin.ts';
import { changeList, mayPostTo, showList } from './list-admin.ts';
import type { LocalLists } from './local-lists.ts';
import type { LocalUsers } from './local-users.ts';
import { recoverUsers } from './recover-users.ts';
import { StoreCheck } from './store-check.ts';

const verifySchema = z.strictObject({ begin: z.boolean() });
const publishSchema = z.strictObject({ certificate: z.instanceof(Uint8Array), record: z.instanceof(Uint8Array) });

/** What commands and the gateway may ask of a running node beside the services of the ring. */
export function nodeAdmin(parts: {
  readonly layout: Layout;
  readonly post: Post;
  readonly users: LocalUsers;
  readonly lists: LocalLists;
  readonly quota: Quota;
}): Admin {
  const { layout, post, users, lists, quota } = parts;
  const check = new StoreCheck(post.store, Date.now);
  return {
    /** Reads users, lists, passwords and the revocation list again. */
    reload: async () => {
      post.overlay.offerRevocations(readFileSync(layout.revocations));
      await users.reload();
      await lists.reload();
      return { users: users.list().length };
    },
    /** Who is in the ring and how this node is. */
    status: async () => {
      const { overlay, store, notify } = post;
      return {
        peerId: overlay.self.peerId,
        addresses: [...overlay.self.addresses],
        ring: overlay.ring.name,
        members: overlay.members().map(({ peerId, owner, addresses, certificate }) => ({
          peerId,
          serial: certificate.serial,
          owner,
          addresses: [...addresses],
          up: overlay.isUp(peerId),
        })),
        store: { ...(await store.stats()) },
        notify: { ...notify.stats() },
        users: users.list(),
      };
    },
    /** What lies on this disk, and on whose account. */
    'store-stats': async () => {
      const { store } = post;
      return { stats: { ...(await store.stats()) }, accounts: await store.accounts(), quota: { ...quota } };
    },
    /** How the reading and mending of the whole store stands; with `begin` it is begun. */
    'store-verify': async (args) => (verifySchema.parse(args).begin ? check.begin() : check.state),
    /** Takes the mailboxes of users back to a time, or says what that would change, or when heads were kept. */
    recover: async (args) => recoverUsers(users, args),
    /** A list, its members included where they are public or it is expanded here; or the lists of this node. */
    'list-show': async (args) => showList({ lists, post }, args),
    /** Changes a list of this node, or asks another one in the name of an owner. */
    'list-change': async (args) => changeList({ lists, users, post }, args),
    /** Whether somebody outside may write to a list. */
    'list-may-post': async (args) => mayPostTo({ lists, post }, args),
    /** Where a user of this node has his mail forwarded to; with an instruction, from now on. */
    forward: async (args) => forwardOf(users, args),
    /** Puts an identity's own directory entry into the ring; the ring checks its signatures. */
    publish: async (args) => {
      const { copies } = await post.store.publishIdentity(publishSchema.parse(args));
      return { copies };
    },
  };
}

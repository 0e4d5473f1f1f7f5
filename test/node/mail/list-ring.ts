import { expect } from 'vitest';
import { deliverTo } from '../../../node/mail/delivery.ts';
import type { Folder } from '../../../node/mail/folder.ts';
import { forwarder } from '../../../node/mail/forward/forwarder.ts';
import type { Instruction } from '../../../node/mail/forward/instruction.ts';
import { decodeLetter, type RelayLetter } from '../../../node/mail/letter.ts';
import { ListHome } from '../../../node/mail/list/list-home.ts';
import { changed, type ListState } from '../../../node/mail/list/list-state.ts';
import { submitSpread } from '../../../node/mail/list/spread.ts';
import type { MailUser } from '../../../node/mail/mail-post.ts';
import type { Mailbox } from '../../../node/mail/mailbox.ts';
import { fetchMessage } from '../../../node/mail/message.ts';
import { RingNames } from '../../../node/mail/ring-names.ts';
import { type SendPost, type SubmitOptions, submit } from '../../../node/mail/send.ts';
import type { SentNote } from '../../../node/mail/sent-book.ts';
import type { Handled } from '../../../node/notify/local-recipient.ts';
import { type Opened, openSealed, type Sealed } from '../../../node/notify/sealed.ts';
import type { IdentityRecord, ListRecord, Lookup } from '../../../node/store/directory.ts';
import type { Address, Domain } from '../../../policy/address.ts';
import { BlockShelf } from './block-shelf.ts';
import { makeUser, silent, trust } from './mailbox-fixture.ts';

export interface Got {
  readonly bytes: string;
  readonly from: string;
}

/** A ring of users, lists and a gateway without nodes: what is sent lies in a queue until it is carried. */
export class ListRing {
  readonly store = new BlockShelf();
  readonly gateway = makeUser('gateway', 'gateway');
  readonly inboxes = new Map<Address, Map<string, Got>>();
  readonly outside: { by: Address; letter: RelayLetter; opened: Opened }[] = [];
  readonly answers: { to: Address; from: Address; handled: Handled }[] = [];
  readonly notes = new Map<string, SentNote>();
  readonly lists = new Map<Address, ListState>();
  readonly forwards = new Map<Address, Instruction>();
  /** Notifications carried so far. */
  carried = 0;
  readonly #users = new Map<Address, MailUser>();
  readonly #handlers = new Map<Address, (opened: Opened) => Promise<Handled>>();
  readonly #records = new Map<Address, ListRecord>();
  readonly #queue: Sealed[] = [];

  readonly names = new RingNames({
    domains: ['example.org' as Domain],
    gateway: this.gateway.address,
    lookup: async (address) => this.#lookup(address),
  });

  readonly post: SendPost & { readonly store: BlockShelf } = {
    store: this.store,
    overlay: { ring: { domains: ['example.org' as Domain] } },
    lookup: async (address) => this.names.resolve(address),
    notify: {
      send: async (sealed) => {
        this.#queue.push(sealed);
        return { kind: 'pending', copies: 1 };
      },
    },
  };

  constructor() {
    const { gateway } = this;
    this.#users.set(gateway.address, gateway);
    this.#handlers.set(gateway.address, async (opened) => {
      const letter = decodeLetter(opened.body);
      if (letter.kind !== 'relay') return { verdict: 'refused', rule: 'not-a-relay-request' };
      this.outside.push({ by: opened.from.address, letter, opened });
      return { verdict: 'accepted' };
    });
  }

  user(local: string): MailUser {
    const user = makeUser(local);
    const inbox = new Map<string, Got>();
    this.#users.set(user.address, user);
    this.inboxes.set(user.address, inbox);
    const { store } = this;
    const folder: Pick<Folder, 'insertRef'> = {
      insertRef: async ({ id, ref, envelopeFrom }) => {
        const key = Buffer.from(id).toString('hex');
        if (inbox.has(key)) return { kind: 'known', uid: undefined };
        inbox.set(key, { bytes: Buffer.from(await fetchMessage(store, ref)).toString('latin1'), from: envelopeFrom });
        return { kind: 'inserted', uid: inbox.size };
      },
    };
    const mailbox: Pick<Mailbox, 'read' | 'keep' | 'folder' | 'folders'> = {
      read: async (ref) => fetchMessage(store, ref),
      keep: async () => undefined,
      folder: async () => folder as Folder,
      folders: () => [],
    };
    const instruction = (): Instruction => this.forwards.get(user.address) ?? { to: [], keep: true };
    this.#handlers.set(
      user.address,
      deliverTo(mailbox as Mailbox, {
        names: this.names,
        custody: { store, trust, now: Date.now },
        forwarder: forwarder(this.#sending(user), instruction),
      }),
    );
    return user;
  }

  list(
    local: string,
    state: Partial<Omit<ListState, 'members'>> & {
      readonly members: readonly string[];
      readonly seenBy?: ListRecord['members'];
    },
  ): MailUser {
    const user = makeUser(local, 'list');
    const { posting = 'anyone', owners = [], seenBy = 'private' } = state;
    const members = new Map(state.members.map((text) => [text.toLowerCase() as Address, text]));
    this.lists.set(user.address, { posting, owners, members });
    this.#users.set(user.address, user);
    this.#records.set(user.address, { posting, owners, members: seenBy });
    this.restart(user);
    return user;
  }

  /** The list in another process, which remembers no post. */
  restart(user: MailUser): void {
    const home = new ListHome({
      ...this.#sending(user),
      state: () => this.lists.get(user.address)!,
      change: async (changes) => {
        this.lists.set(user.address, changes.reduce(changed, this.lists.get(user.address)!));
      },
      names: this.names,
      custody: { trust },
      hostname: 'node.example.org',
    });
    this.#handlers.set(user.address, (opened) => home.take(opened));
  }

  /** As a user's node does, which expands lists whose members are public. */
  async spread(user: MailUser, to: readonly string[], bytes: Uint8Array): Promise<readonly string[]> {
    const envelope = { from: user.address, to };
    const read = async (address: Address): Promise<ListState | undefined> => this.lists.get(address);
    const { recipients } = await submitSpread({ ...this.#sending(user), envelope, bytes, traceId: 't1' }, { read });
    expect(recipients.map(({ address }) => address)).toEqual(to);
    return recipients.map(({ outcome }) => outcome.kind);
  }

  async submit(
    user: MailUser,
    to: readonly string[],
    bytes: Uint8Array,
    more: Partial<SubmitOptions> = {},
  ): Promise<readonly string[]> {
    const envelope = { from: user.address, to };
    const { recipients } = await submit({ ...this.#sending(user), envelope, bytes, traceId: 't1', ...more });
    return recipients.map(({ outcome }) => outcome.kind);
  }

  /** Carries notifications until there are none, those that are put off not again. Throws beyond `most`. */
  async settle(most = 10_000): Promise<void> {
    for (let sealed = this.#queue.shift(); sealed !== undefined; sealed = this.#queue.shift()) {
      if (++this.carried > most) throw new Error(`more than ${most} notifications`);
      await this.give(sealed);
    }
  }

  /** Hands one over, as often as the caller likes. */
  async give(sealed: Sealed): Promise<Handled> {
    const me = this.#users.get(sealed.recipient)!;
    const opened = openSealed({ sealed: sealed.bytes, me, trust: trust(), now: Date.now() });
    if (opened.kind === 'refused') throw new Error(opened.reason);
    const handled = await this.#handlers.get(me.address)!(opened);
    this.answers.push({ to: me.address, from: opened.from.address, handled });
    return handled;
  }

  member(address: Address): MailUser | undefined {
    return this.#users.get(address);
  }

  /** What waits. */
  get queued(): readonly Sealed[] {
    return this.#queue;
  }

  texts(user: MailUser): readonly string[] {
    return [...(this.inboxes.get(user.address)?.values() ?? [])].map(({ bytes }) => bytes);
  }

  #sending(user: MailUser) {
    return {
      user,
      post: this.post,
      gateway: this.gateway.address,
      book: {
        note: async (id: Uint8Array, note: SentNote) => {
          this.notes.set(Buffer.from(id).toString('hex'), note);
        },
      },
      now: Date.now,
      log: silent,
    };
  }

  #lookup(address: Address): Lookup {
    const user = this.#users.get(address);
    if (user === undefined) return { kind: 'none' };
    const list = this.#records.get(address);
    const record: IdentityRecord | undefined =
      list === undefined ? undefined : { address, version: 1, contacts: [], publishedAt: 1, list };
    return { kind: 'found', certificate: user.certificate, record };
  }
}

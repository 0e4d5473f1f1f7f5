import { equalBytes } from '../../node/identity/canonical.ts';
import { checkIdentityCertificate, type IdentityCertificate } from '../../node/identity/certificate.ts';
import type { ListChange, ListState } from '../../node/mail/list/list-state.ts';
import type { Address } from '../../policy/address.ts';
import { type LocalList, listLists, markListOpen, readList } from '../home/lists.ts';
import { type OpenList, openList } from './list-home.ts';
import { reside } from './residence.ts';
import { type LocalUsersOptions, type LocalUsersParts, ringNamesOf } from './users-parts.ts';

interface Resident {
  readonly list: LocalList;
  readonly leave: AbortController;
  /** Open once the ring answered. */
  home: OpenList | undefined;
  trouble: string;
}

/** The lists that this node expands: brings them in, and changes them. */
export class LocalLists {
  readonly #parts: LocalUsersParts;
  readonly #residents = new Map<Address, Resident>();
  readonly #arrivals = new Set<Promise<void>>();

  constructor(options: LocalUsersOptions) {
    this.#parts = { ...options, names: ringNamesOf(options.post) };
  }

  /** Makes the lists that are served match the files of the home. */
  async reload(): Promise<void> {
    const { layout, passphrase } = this.#parts;
    const wanted = new Set(listLists(layout));
    for (const [address, resident] of this.#residents) if (!wanted.has(address)) await this.#leave(resident);
    for (const address of wanted) {
      const list = await readList(layout, address, passphrase);
      const resident = this.#residents.get(address);
      if (resident !== undefined && equalBytes(resident.list.certificate, list.certificate)) continue;
      // It was renewed.
      if (resident !== undefined) await this.#leave(resident);
      this.#admit(list);
    }
  }

  list(): readonly Address[] {
    return [...this.#residents.keys()];
  }

  /** A list of this node, or why it cannot be used now; undefined for one that is not here. */
  find(
    address: Address,
  ): { readonly made: LocalList['made']; readonly state: ListState } | { readonly trouble: string } | undefined {
    const resident = this.#residents.get(address);
    if (resident === undefined) return undefined;
    const { home, list, trouble } = resident;
    return home === undefined ? { trouble } : { made: list.made, state: home.state() };
  }

  /** In the ring when it resolves. Throws MailFault, LogFault. */
  async change(address: Address, changes: readonly ListChange[]): Promise<void> {
    await this.#residents.get(address)?.home?.change(changes);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#residents.values()].map((resident) => this.#leave(resident)));
    await Promise.all(this.#arrivals);
  }

  #admit(list: LocalList): void {
    const { log, trust } = this.#parts;
    const check = checkIdentityCertificate(list.certificate, trust());
    if (check.kind === 'invalid' || check.kind === 'revoked') {
      log.error(
        { list: list.address, reason: check.reason },
        'this list’s certificate does not hold; nothing comes to it',
      );
      return;
    }
    const resident: Resident = {
      list,
      leave: new AbortController(),
      home: undefined,
      trouble: 'the list is being opened',
    };
    this.#residents.set(list.address, resident);
    const served = this.#serve(resident, check.certificate)
      .catch((fault: unknown) => log.error({ list: list.address, fault }, 'a list is not served any more'))
      .finally(() => this.#arrivals.delete(served));
    this.#arrivals.add(served);
  }

  async #serve(resident: Resident, certificate: IdentityCertificate): Promise<void> {
    const { layout, log } = this.#parts;
    const { address } = resident.list;
    try {
      await reside({
        signal: resident.leave.signal,
        enter: async () => {
          resident.home ??= await openList(resident.list, certificate, this.#parts);
          await resident.home.refresh();
        },
        entered: () => markListOpen(layout, address),
        daily: async () => resident.home?.refresh(),
        notYet: (fault, retryInMs) => {
          resident.trouble = 'the ring does not answer now';
          log.warn({ list: address, fault, retryInMs }, 'a list cannot be opened yet');
        },
        dailyFailed: (fault) => log.warn({ list: address, fault }, 'a list could not be published again'),
      });
    } finally {
      await resident.home?.close();
    }
  }

  async #leave(resident: Resident): Promise<void> {
    this.#residents.delete(resident.list.address);
    resident.leave.abort();
    await resident.home?.close();
  }
}

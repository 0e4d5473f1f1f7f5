// A bot comes back within minutes; an address that has a new owner is forgiven the same day.
const rememberMs = 3_600_000;
// Some 100 octets each. The oldest go first, so that who floods this with addresses forgets only others of his kind.
const maxRemembered = 20_000;

/**
 * Networks whose clients lately broke the rules of SMTP in ways that mail servers do not. They wait for the greeting, and are refused when they
 * do not; everybody else is greeted at once.
 */
export class Manners {
  /** Until when each is distrusted, in the order of the latest offence. */
  readonly #until = new Map<string, number>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  note(subnet: string): void {
    this.#until.delete(subnet);
    this.#until.set(subnet, this.#now() + rememberMs);
    if (this.#until.size <= maxRemembered) return;
    const oldest = this.#until.keys().next().value;
    if (oldest !== undefined) this.#until.delete(oldest);
  }

  distrusts(subnet: string): boolean {
    const until = this.#until.get(subnet);
    if (until === undefined) return false;
    if (until > this.#now()) return true;
    this.#until.delete(subnet);
    return false;
  }
}

/** The parts of the product that run in processes of their own. */
export type Role = 'node' | 'gateway';

/** What a process says once it does its work: where it listens. */
export interface ReadyNote {
  readonly kind: 'ready';
  readonly role: Role;
  readonly listens: Readonly<Record<string, string>>;
}

export type ChildMessage = ReadyNote;

/** Tells the supervisor, where there is one. */
export function sayReady(note: ReadyNote): void {
  process.send?.(note);
}

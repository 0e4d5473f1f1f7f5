import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { writeFileDurably } from '../home/files.ts';

/** One policy that was in force, or was put into the home by a command. */
export interface Revision {
  /** SHA-256 of its text, hexadecimal. */
  readonly hash: string;
  /** ISO time of when it was first seen. */
  readonly at: string;
  /** Who wrote the file, as far as the system says. */
  readonly author: string;
  readonly why: string;
}

const shape = z.strictObject({ hash: z.string(), at: z.string(), author: z.string(), why: z.string() });
// A policy is 20 KiB.
const maxRevisions = 1_000;

/**
 * The policies that a home has had, each kept whole under its hash. A policy comes here when the gateway begins to use it, so what is here was good when it came.
 */
export class PolicyHistory {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Keeps a policy, once; the same text again is not another revision. Throws where the disk does not take it. */
  keep(
    policy: { readonly hash: string; readonly text: string },
    about: { readonly file: string; readonly why: string; readonly now: number },
  ): void {
    const facts = this.#facts(policy.hash);
    if (existsSync(facts) || this.list().length >= maxRevisions) return;
    writeFileDurably(this.#text(policy.hash), policy.text);
    const revision: Revision = {
      hash: policy.hash,
      at: new Date(about.now).toISOString(),
      author: ownerOf(about.file),
      why: about.why,
    };
    writeFileDurably(facts, `${JSON.stringify(revision)}\n`);
  }

  /** The newest first. */
  list(): readonly Revision[] {
    if (!existsSync(this.#folder)) return [];
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        try {
          return [shape.parse(JSON.parse(readFileSync(path.join(this.#folder, name), 'utf8')))];
        } catch {
          return [];
        }
      })
      .sort((a, b) => b.at.localeCompare(a.at));
  }

  /** The revisions whose hash begins like this; the caller asks for more letters where there are several. */
  find(start: string): readonly Revision[] {
    return this.list().filter(({ hash }) => hash.startsWith(start.toLowerCase()));
  }

  textOf({ hash }: Revision): string {
    return readFileSync(this.#text(hash), 'utf8');
  }

  #facts(hash: string): string {
    return path.join(this.#folder, `${hash}.json`);
  }

  #text(hash: string): string {
    return path.join(this.#folder, `${hash}.yaml`);
  }
}

/** The file's owner by name where it is this process's user, else by number. */
function ownerOf(file: string): string {
  const { uid } = statSync(file);
  const me = os.userInfo();
  return uid === me.uid ? me.username : `uid ${uid}`;
}

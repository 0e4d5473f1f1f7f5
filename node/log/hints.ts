import type { Channel, Channels } from '../overlay/channel.ts';
import { sha256 } from '../store/block-cipher.ts';

/**
 * Tells the other nodes of a writer that a log of his has a newer head, and hears it from them: an acceleration of {@link Log.refresh}, nothing
 * more. A hint proves nothing and may be lost, late or a lie; the head itself is asked of its holders.
 */
export interface LogHints {
  tell(key: Uint8Array, version: number): void;
  /** Calls back with the version that somebody tells of, until the returned function is called. */
  hear(key: Uint8Array, listener: (version: number) => void): () => void;
}

// The key of the log's heads, and the version in six bytes.
const keyBytes = 32;
const frameBytes = keyBytes + 6;

/** The hints of one writer's logs over a channel of the ring that is open while any of them is listened to. */
export class ChannelHints implements LogHints {
  readonly #join: () => Channel;
  readonly #listeners = new Map<string, Set<(version: number) => void>>();
  #channel: Channel | undefined;

  /** `writer`: his signing key. Whoever is in the ring can know it, so the topic hides nothing: contact nodes are public anyway. */
  constructor(channels: Channels, writer: Uint8Array) {
    const topic = `log/${Buffer.from(sha256('epost/log-hints\0', writer)).toString('hex').slice(0, 32)}`;
    this.#join = () => channels.join(topic, (frame) => this.#heard(frame));
  }

  tell(key: Uint8Array, version: number): void {
    const frame = Buffer.alloc(frameBytes);
    frame.set(key);
    frame.writeUIntBE(version, keyBytes, 6);
    // Nobody may be there to hear it; then it is found by the next look.
    this.#channel?.publish(frame).catch(() => undefined);
  }

  hear(key: Uint8Array, listener: (version: number) => void): () => void {
    const name = nameOf(key);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener);
    this.#channel ??= this.#join();
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.#listeners.delete(name);
      if (this.#listeners.size > 0) return;
      this.#channel?.close();
      this.#channel = undefined;
    };
  }

  #heard(frame: Uint8Array): 'pass' | 'offence' {
    if (frame.length !== frameBytes) return 'offence';
    const version = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).readUIntBE(keyBytes, 6);
    for (const listener of this.#listeners.get(nameOf(frame.subarray(0, keyBytes))) ?? []) listener(version);
    return 'pass';
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1');
}

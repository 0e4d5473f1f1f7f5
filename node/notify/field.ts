import { decode } from '@ipld/dag-cbor';
import { NotifyFault } from './fault.ts';

// Checks of decoded DAG-CBOR. By hand, since each notification passes several of them and the shapes are few.

const damaged = (what: string): NotifyFault => new NotifyFault('damaged', `expected ${what}`);

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/** The map in `bytes`, which must have exactly the named fields. The caller has bounded the size. */
export function asFields(bytes: Uint8Array, names: readonly string[]): Record<string, unknown> {
  let value: unknown;
  try {
    value = decode(bytes);
  } catch (error) {
    throw new NotifyFault('damaged', 'not canonical DAG-CBOR', { cause: error });
  }
  return asRecord(value, names);
}

export function asRecord(value: unknown, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged('a map');
  const keys = Object.keys(value);
  if (keys.length !== names.length || !names.every((name) => Object.hasOwn(value, name)))
    throw damaged(`the fields ${names.join(', ')}`);
  return value as Record<string, unknown>;
}

export function asBytes(value: unknown, min: number, max: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length < min || value.length > max)
    throw damaged(min === max ? `${min} bytes` : `${min} to ${max} bytes`);
  return value;
}

export function asText(value: unknown, max: number): string {
  if (typeof value !== 'string' || value.length > max) throw damaged(`a text of at most ${max} characters`);
  return value;
}

export function asTime(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw damaged('a time');
  return value;
}

export function asList(value: unknown, max: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > max) throw damaged(`a list of at most ${max}`);
  return value;
}

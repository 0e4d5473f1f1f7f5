import { type Address, parseAddress } from '../../policy/address.ts';
import type { Positional } from './line.ts';

export function addressProblem(text: string): string | undefined {
  const parsed = parseAddress(text);
  return parsed.kind === 'address' ? undefined : `a mail address: ${parsed.reason}`;
}

export function addressesProblem(text: string): string | undefined {
  return text
    .split(',')
    .map(addressProblem)
    .find((problem) => problem !== undefined);
}

export function addressWord(help: string, name = 'ADDRESS'): Positional {
  return { name, help, check: addressProblem };
}

/** A word that was checked when the line was read. */
export function addressIn(text: string | undefined): Address {
  const parsed = parseAddress(text ?? '');
  if (parsed.kind !== 'address') throw new TypeError('the address was not checked');
  return parsed.address;
}

/** An IP network: its family, the first bits of its address, and how many bits count. */
export interface Network {
  readonly bits: 32 | 128;
  readonly address: bigint;
  readonly prefix: number;
}

const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** An address (`192.0.2.1`, `2001:db8::1`) or network (`192.0.2.0/24`), or undefined. Bits below the prefix are cleared. */
export function parseNetwork(text: string): Network | undefined {
  if (text.length > 49) return undefined; // the longest form: 45 characters of address, a slash and three digits
  const [host = '', width, ...rest] = text.split('/');
  const parsed = rest.length > 0 ? undefined : parseIp(host);
  if (parsed === undefined) return undefined;
  const prefix = width === undefined ? parsed.bits : /^\d{1,3}$/.test(width) ? Number(width) : -1;
  if (prefix < 0 || prefix > parsed.bits) return undefined;
  return { bits: parsed.bits, address: firstBits(parsed.address, parsed.bits, prefix), prefix };
}

/** The address with all but its first `prefix` bits cleared. */
export function firstBits(address: bigint, bits: 32 | 128, prefix: number): bigint {
  const low = BigInt(bits - prefix);
  return (address >> low) << low;
}

function parseIp(text: string): { bits: 32 | 128; address: bigint } | undefined {
  const four = parseV4(text);
  if (four !== undefined) return { bits: 32, address: four };
  const six = parseV6(text);
  if (six === undefined) return undefined;
  // RFC 4291 §2.5.5.2: ::ffff:192.0.2.1 is the IPv4 address, and must match where that does.
  return six >> 32n === 0xffffn ? { bits: 32, address: six & 0xffff_ffffn } : { bits: 128, address: six };
}

function parseV4(text: string): bigint | undefined {
  const octets = v4.exec(text)?.slice(1).map(Number);
  if (octets === undefined || octets.some((octet) => octet > 255)) return undefined;
  return octets.reduce((sum, octet) => (sum << 8n) | BigInt(octet), 0n);
}

// RFC 4291 §2.2: eight groups, one run of zeros as `::`, the last two groups possibly as an IPv4 address.
function parseV6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (!text.includes(':') || halves.length > 2) return undefined;
  const head = groups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const zeros = 8 - head.length - tail.length;
  if (halves.length === 2 ? zeros < 1 : zeros !== 0) return undefined;
  return [...head, ...Array<bigint>(zeros).fill(0n), ...tail].reduce((sum, group) => (sum << 16n) | group, 0n);
}

function groups(text: string, isLast: boolean): bigint[] | undefined {
  if (text === '') return [];
  const parsed: bigint[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      parsed.push(BigInt(`0x${part}`));
      continue;
    }
    const four = isLast && index === parts.length - 1 ? parseV4(part) : undefined;
    if (four === undefined) return undefined;
    parsed.push(four >> 16n, four & 0xffffn);
  }
  return parsed;
}

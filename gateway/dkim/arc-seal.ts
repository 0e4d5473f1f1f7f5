/**
 * Seals what the ring carries on for others (RFC 8617 §5.1): what this gateway saw of a message when it came in is signed, so that the next host can see that
 * it was genuine although its SPF is ours now. Pure but for the clock and the key that are handed in.
 */
import { fieldText, type HeaderBlock, type HeaderField, readHeaderBlock } from '../header-fields.ts';
import { relaxedField } from './canonical.ts';
import type { DkimKey } from './keys.ts';
import { bodyHashOf, completed, folded, signedFields } from './sign.ts';

export interface SealOptions {
  readonly domain: string;
  readonly key: DkimKey;
  /** ms. */
  readonly now: number;
  /** What stands in our Authentication-Results of it, from the authserv-id on. */
  readonly results: string;
  /** What its chain came to when it was checked. */
  readonly chain: 'none' | 'pass' | 'fail' | 'unknown';
  /** Of the message, where it is known. */
  readonly block?: HeaderBlock;
}

/** RFC 8617 §4.2.1. */
const maxInstance = 50;

type Member = 'arc-authentication-results' | 'arc-message-signature' | 'arc-seal';
const members: readonly Member[] = ['arc-authentication-results', 'arc-message-signature', 'arc-seal'];

interface Chain {
  /** The fields of each set, in the order in which they are sealed, the oldest set first. */
  readonly fields: readonly Uint8Array[];
  readonly sets: number;
  readonly lastCv: string;
}

/**
 * The three fields to put before the message, the seal on top; undefined where no seal may be made: the chain is full or was ended by a `cv=fail`
 * (RFC 8617 §5.1.2), or whether it holds is not known.
 */
export async function arcSeal(message: Uint8Array, options: SealOptions): Promise<Uint8Array | undefined> {
  const { domain, key, now, chain } = options;
  const block = options.block ?? readHeaderBlock(message);
  const before = chainOf(message, block);
  const instance = before.sets + 1;
  const isNew = before.sets === 0;
  if (instance > maxInstance || before.lastCv === 'fail') return undefined;
  if (chain === 'unknown' || (isNew ? chain === 'pass' : chain === 'none')) return undefined;
  const cv = isNew ? 'none' : chain;
  const seconds = Math.floor(now / 1000);
  const results = Buffer.from(`ARC-Authentication-Results: i=${instance}; ${options.results}\r\n`);
  // RFC 8617 §4.1.2: signatures of others are part of what is vouched for; seals and results are not signed here.
  const { names, header } = signedFields(message, block, ['dkim-signature']);
  const signature = await completed(
    [
      `ARC-Message-Signature: i=${instance}; a=${key.algorithm}; c=relaxed/relaxed;`,
      ` d=${domain}; s=${key.selector}; t=${seconds};`,
      ...folded(` h=${names.join(':')};`, ':'),
      ` bh=${await bodyHashOf(message, block)};`,
      ' b=',
    ].join('\r\n'),
    header,
    key,
  );
  // RFC 8617 §5.1.1 and §5.1.2: of a chain that failed only the own set is sealed.
  const sealed = [...(cv === 'pass' ? before.fields : []), results, signature].flatMap((field) => [
    relaxedField(field),
    Buffer.from('\r\n'),
  ]);
  const seal = await completed(
    [
      `ARC-Seal: i=${instance}; a=${key.algorithm}; t=${seconds}; cv=${cv};`,
      ` d=${domain}; s=${key.selector};`,
      ' b=',
    ].join('\r\n'),
    Buffer.concat(sealed),
    key,
  );
  return Buffer.concat([seal, signature, results]);
}

/** The sets as they stand in the header. Whether they hold was checked by others: here they are only put into order. */
function chainOf(message: Uint8Array, { fields }: HeaderBlock): Chain {
  const found = fields.flatMap((field) => {
    const member = members.find((name) => name === field.name);
    return member === undefined ? [] : [{ member, field, instance: instanceOf(message, field) }];
  });
  const sets = Math.max(0, ...found.map(({ instance }) => instance));
  const ordered = Array.from({ length: sets }, (_, place) =>
    members.flatMap((member) => found.filter((one) => one.member === member && one.instance === place + 1)),
  ).flat();
  const last = ordered.findLast(({ member }) => member === 'arc-seal');
  return {
    sets,
    fields: ordered.map(({ field }) => message.subarray(field.start, field.end)),
    lastCv: last === undefined ? '' : (/(?:^|;)\s*cv\s*=\s*(\w+)/i.exec(text(message, last.field))?.[1] ?? ''),
  };
}

function instanceOf(message: Uint8Array, field: HeaderField): number {
  return Number(/(?:^|;)\s*i\s*=\s*(\d{1,2})\b/.exec(text(message, field))?.[1] ?? 0);
}

// The tags looked at stand in front of the signature by custom, which is some 350 characters.
const maxFieldChars = 2_000;

function text(message: Uint8Array, field: HeaderField): string {
  return fieldText(message, field, maxFieldChars);
}

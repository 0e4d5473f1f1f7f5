import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { compareDistance } from '../../../node/overlay/placement.ts';
import { type Contact, commonBits, defaultLimits, RoutingTable } from '../../../node/overlay/routing-table.ts';

const hash = (text: string): Uint8Array => Uint8Array.from(createHash('sha256').update(text).digest());
const self = new Uint8Array(32);
const contact = (n: number, changes: Partial<Contact> = {}): Contact => ({
  peerId: `n${n}`,
  position: hash(`node ${n}`),
  owner: `o${n}`,
  ...changes,
});
/** Contacts of the far half of the ring as seen from zero. */
const far = (count: number, changes: (n: number) => Partial<Contact> = () => ({})): Contact[] =>
  Array.from({ length: count }, (_, n) => {
    const position = hash(`far ${n}`);
    position[0] = (position[0] ?? 0) | 0x80;
    return contact(n, { position, ...changes(n) });
  });
const tight = { ...defaultLimits, siblings: 0 };

describe('a routing table', () => {
  it.each([
    [1_000, 150],
    [10_000, 220],
  ])('keeps of %i nodes fewer than %i, and all of the 16 nearest to it', (size, most) => {
    const table = new RoutingTable<Contact>(self);
    const all = Array.from({ length: size }, (_, n) => contact(n));
    for (const one of all) table.offer(one);
    expect(table.size).toBeLessThan(most);
    const nearest = all.sort((left, right) => compareDistance(self, left.position, right.position)).slice(0, 16);
    expect(table.closest(self, 16)).toEqual(nearest);
  });

  it('keeps who came first, and lets a newcomer in for one that failed', () => {
    const table = new RoutingTable<Contact>(self, tight);
    const [newcomer, ...first] = far(21).reverse();
    for (const one of first) expect(table.offer(one)).toBe(true);
    expect(table.offer(newcomer!)).toBe(false);
    table.failed('n7');
    expect(table.offer(newcomer!)).toBe(true);
    expect([table.has('n7'), table.size]).toEqual([false, 20]);
  });

  it('forgives a failure when the contact is offered again', () => {
    const table = new RoutingTable<Contact>(self, tight);
    const [newcomer, ...first] = far(21).reverse();
    for (const one of first) table.offer(one);
    table.failed('n7');
    table.offer(first.find(({ peerId }) => peerId === 'n7')!);
    expect(table.offer(newcomer!)).toBe(false);
  });

  it.each<[string, number, (n: number) => Partial<Contact>]>([
    ['one owner', 2, () => ({ owner: 'mallory' })],
    ['one network', 4, () => ({ network: '198.51.100.0/24' })],
    ['no known network', 20, () => ({})],
  ])('has of one distance and %s %i at most', (_why, most, changes) => {
    const table = new RoutingTable<Contact>(self, tight);
    for (const one of far(30, changes)) table.offer(one);
    expect(table.size).toBe(most);
  });

  it('keeps its neighbours, whoever they are', () => {
    const table = new RoutingTable<Contact>(self);
    for (const one of far(16, () => ({ owner: 'mallory' }))) table.offer(one);
    expect(table.size).toBe(16);
  });

  it('never holds itself, and forgets whom it is told to', () => {
    const table = new RoutingTable<Contact>(self);
    expect(table.offer(contact(1, { position: self }))).toBe(false);
    table.offer(contact(2));
    table.remove('n2');
    table.remove('n2');
    expect([table.size, table.closest(self, 9)]).toEqual([0, []]);
  });
});

describe('the bits that two positions share', () => {
  it.each([
    [[0, 0], [0, 0], 16],
    [[0, 0], [128, 0], 0],
    [[0, 0], [1, 0], 7],
    [[255, 0], [255, 64], 9],
  ])('of %j and %j are %i', (left, right, bits) => {
    expect(commonBits(Uint8Array.from(left), Uint8Array.from(right))).toBe(bits);
  });
});

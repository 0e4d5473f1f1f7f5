import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConductBook, type Deed, readConduct } from '../../../node/overlay/conduct.ts';
import { silentLog } from './fake-overlay.ts';

let dir: string;
let now = 1_000_000;
const lines: string[] = [];
const log = { ...silentLog, warn: (_fields: object, message: string) => void lines.push(message) };

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'epost-conduct-'));
  now = 1_000_000;
  lines.length = 0;
});
afterEach(() => rm(dir, { recursive: true }));

const open = () => ConductBook.open(dir, { now: () => now, log });
const lied = (name: string, what = 'other bytes'): Deed => ({
  subject: { kind: 'node', name },
  offence: 'false-answer',
  what,
});
const forked = (name: string, proof: Uint8Array[]): Deed => ({
  subject: { kind: 'writer', name },
  offence: 'two-heads',
  what: 'two heads',
  proof,
});

describe('the book of misbehaviour', () => {
  it('counts by subject and offence, newest first, and is there after a restart', async () => {
    const book = await open();
    book.note(lied('a'));
    now += 5;
    book.note(lied('b'));
    book.note(lied('a', 'again'));
    await book.stop();
    const rows = [
      { subject: { kind: 'node', name: 'a' }, count: 2, firstAt: 1_000_000, lastAt: 1_000_005, what: 'again' },
      { subject: { kind: 'node', name: 'b' }, count: 1 },
    ];
    expect(await readConduct(dir)).toMatchObject(rows);
    const again = await open();
    expect(again.list()).toMatchObject(rows);
    await again.stop();
  });

  it('one false answer may be a bad disk; three within an hour are a habit, until the hour is over', async () => {
    const book = await open();
    for (const expected of [false, false, true]) {
      book.note(lied('a'));
      now += 60_000;
      expect(book.isSuspect('a')).toBe(expected);
    }
    expect(book.isSuspect('b')).toBe(false);
    now += 3_600_000;
    expect(book.isSuspect('a')).toBe(false);
    await book.stop();
  });

  it('a proof is kept once, the first few, and none that is larger than two heads', async () => {
    const book = await open();
    const proof = (byte: number, length = 10): Uint8Array[] => [new Uint8Array(length).fill(byte), new Uint8Array(1)];
    book.note(forked('w', proof(1)));
    book.note(forked('w', proof(1)));
    book.note(forked('w', proof(2, 200_000)));
    for (let byte = 3; byte < 10; byte += 1) book.note(forked('w', proof(byte)));
    await book.stop();
    const [row] = await readConduct(dir);
    expect(row?.count).toBe(10);
    expect(row?.proofs.map(([first]) => first?.[0])).toEqual([1, 3, 4, 5]);
  });

  it('a liar fills neither memory nor the log', async () => {
    const book = await open();
    for (let number = 0; number < 3_000; number += 1) book.note(lied(`n${number % 1_500}`, 'x'.repeat(5_000)));
    expect(book.list()).toHaveLength(1_000);
    expect(book.list()[0]?.what.length).toBe(300);
    lines.length = 0;
    for (let time = 0; time < 100; time += 1) book.note(lied('one'));
    expect(lines).toHaveLength(1);
    await book.stop();
  });

  it('a damaged book is begun anew, and said so', async () => {
    await writeFile(path.join(dir, 'conduct'), 'garbage');
    const book = await open();
    expect(book.list()).toEqual([]);
    expect(lines).toHaveLength(1);
    book.note(lied('a'));
    await book.stop();
    expect(await readConduct(dir)).toHaveLength(1);
  });
});

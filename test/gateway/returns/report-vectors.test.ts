import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Report, type ReportedRecipient, readReport } from '../../../gateway/returns/report.ts';
import { testdata } from '../../testdata.ts';

const folder = testdata('dsn');

interface Expected {
  readonly status: string;
  readonly reply: string;
  readonly reason: string;
}
interface Case {
  readonly file: string;
  readonly sisimai: readonly Expected[] | null;
  readonly machine_readable: boolean;
  readonly final_recipients: readonly string[];
  readonly actions: readonly string[];
  readonly statuses: readonly string[];
}

const ofAmazon = 'a message of a hosting service to its customer, in JSON; no mail host says so to a sender';
const givenUp =
  'the collectors count the cause as temporary; the host wrote that it has given up, and that is what the sender has to know';
/** Where we read otherwise than the suite, and what that costs. */
const otherwise: ReadonlyMap<string, string> = new Map([
  ['sisimai/lhost-amazonses-09.eml', ofAmazon],
  ['sisimai/lhost-amazonses-10.eml', ofAmazon],
  ['sisimai/lhost-amazonses-11.eml', ofAmazon],
  ['sisimai/lhost-amazonses-13.eml', ofAmazon],
  ['sisimai/arf-22.eml', 'a complaint without any field that says so: it is delivered as it is'],
  ['sisimai/lhost-exim-06.eml', givenUp],
  ['sisimai/lhost-exim-07.eml', givenUp],
  ['sisimai/lhost-gmail-09.eml', givenUp],
  ['sisimai/lhost-gmail-17.eml', givenUp],
  [
    'sisimai/lhost-fml-02.eml',
    'an answer of a mailing list to somebody who is not on it, from its owner: it is delivered as it is',
  ],
  ['sisimai/lhost-amazonworkmail-03.eml', 'the reply code stands only in the copy of the message; the status is found'],
  ['sisimai/lhost-mfilter-04.eml', 'the reply is behind 400 lines of text; a failure is seen, not whose'],
  ['sisimai/lhost-sendmail-14.eml', 'a person forwards a bounce: that is a letter'],
  ['sisimai/lhost-v5sendmail-07.eml', 'the reply of each recipient stands before it; the first is told of all'],
  ['sisimai/rfc3464-28.eml', 'two messages in one file; a message has one report'],
  ['sisimai/rhost-cox-01.eml', 'two messages in one file; a message has one report'],
]);

const bare = (field: string): string => field.replace(/^[^;]*;/, '').replaceAll(/^[\s<]+|[\s>]+$/g, '');
const statusIn = (text: string): string => /[245]\.\d{1,3}\.\d{1,3}/.exec(text)?.[0] ?? '';
const recipientsOf = (report: Report): readonly ReportedRecipient[] =>
  report.kind === 'delivery' ? report.recipients : [];

describe.skipIf(folder === undefined)('bounces of some 70 systems (../shared/testdata/dsn)', () => {
  const load = (file: string): Report => readReport(readFileSync(path.join(folder ?? '', file)));
  const messages =
    folder === undefined
      ? []
      : (JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8')) as { messages: Case[] }).messages;
  const tried = messages.filter(({ file }) => !otherwise.has(file));
  it('the suite is whole, and every named difference is in it', () => {
    expect(messages).toHaveLength(377);
    expect([...otherwise.keys()].filter((file) => !messages.some((one) => one.file === file))).toEqual([]);
  });

  const forPrograms = tried.filter((one) => one.machine_readable && one.final_recipients.length > 0);
  it.for(forPrograms)('the fields of $file are found', (one) => {
    const found = recipientsOf(load(one.file));
    expect(found.map(({ address }) => address)).toEqual(one.final_recipients.map(bare));
    expect(found.map(({ status }) => status)).toEqual(one.statuses.map(statusIn));
    const known = one.actions.map((action) => action.toLowerCase()).filter((word) => word !== 'deliverable');
    if (known.length === found.length) expect(found.map(({ action }) => action)).toEqual(known);
  });

  const forPeople = tried.filter((one) => !one.machine_readable && (one.sisimai ?? []).length > 0);
  it.for(forPeople)('the text of $file is understood', ({ file, sisimai }) => {
    const report = load(file);
    if (sisimai?.some(({ reason }) => reason === 'feedback') === true) {
      expect(report.kind).toBe('complaint');
      return;
    }
    if (sisimai?.every(({ reason }) => reason === 'vacation') === true) {
      expect(report.kind).toBe('none');
      return;
    }
    const found = recipientsOf(report);
    expect(found).not.toEqual([]);
    for (const { status, reply } of sisimai ?? []) {
      const fits = found.some(
        (one) =>
          (status === '' || one.status === status || status.startsWith(one.action === 'delayed' ? '4' : '5')) &&
          (reply === '' || String(one.code) === reply),
      );
      expect(fits, `${status} ${reply} in ${JSON.stringify(found)}`).toBe(true);
    }
  });

  it.for(['flanker/bounce-mailbox-full.eml', 'mimekit/delivery-status-no-blank-line.txt', 'mikel-mail/report_530.eml'])(
    '%s is a bounce',
    (file) => expect(recipientsOf(load(file)).map(({ action }) => action)).toContain('failed'),
  );
});

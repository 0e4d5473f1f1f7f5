import { readdirSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { testdata } from '../../../testdata.ts';
import { type ImapFixture, makeImap } from '../access-fixture.ts';
import { playJames } from './james-run.ts';
import { readJames } from './james-script.ts';

const folder = testdata('imap-scripts');

/** Why a script of James is not played. */
const reasons: readonly (readonly [string, readonly string[]])[] = [
  [
    'told in descending order, as the numbers need no reckoning then; James tells in ascending order',
    [
      'AppendExpunge',
      'ConcurrentCrossExpunge',
      'ConcurrentExpungeResponse',
      'ExpungeBasics',
      'UidSearchAtoms',
      'UidSearchCombinations',
    ],
  ],
  [
    'expects texts or a state before the log-in',
    [
      'BadTag',
      'IllegalTag',
      'JustTag',
      'NoCommand',
      'NoTag',
      'Welcome',
      'ValidNonAuthenticated',
      'SelectThenFetchWithExistingMessages',
      'ComplexMail',
    ],
  ],
  [
    'wants extensions that are not there (METADATA, SAVEDATE, REPLACE, PARTIAL)',
    ['Capability', 'Metadata', 'MetadataWithLimitation', 'SearchSaveDate', 'Replace', 'FetchPartial'],
  ],
  [
    'wants FETCH items in an order, or in a form, of its own (RFC 3501 §9 has no ALL in brackets)',
    [
      'ConcurrentExpungeUIDToMSNMapping',
      'FetchSingleMessage',
      'FetchStructureComplex',
      'FetchHeaderFields',
      'FetchHeaderFieldsNot',
    ],
  ],
  [
    'a level is parted from the next by a full stop there, by a slash here',
    [
      'ConcurrentRenameSelectedSub',
      'ListOnly',
      'ListPercentWildcard',
      'ListPlus',
      'ListSpecialChar',
      'ListNamespace',
      'RenameHierarchy',
      'RenameInbox',
      'Subscribe',
      'Namespace',
    ],
  ],
  ['a name may have * and % there, not here', ['ListWithPercentWildcardInMailboxName']],
  [
    'folders of other users are not shared',
    [
      'ListWithSharedMailbox',
      'RenameSharedMailbox',
      'SharingAccessL',
      'SharingAccessLR',
      'SharingAccessLRI',
      'SharingAccessLRK',
      'SharingAccessLRS',
      'SharingAccessLRT',
      'SharingAccessLRW',
      'SharingAccessLRX',
    ],
  ],
  ['for a server without CONDSTORE', ['CondstoreDisable']],
  ['enables in the selected state, against RFC 5161 §3.1; the dialogs enable before', ['CondstoreEnable']],
  ['a UID that is not there is nothing to move, and no error (RFC 3501 §6.4.8)', ['MoveNoMSG']],
  ['wants a uidValidity of 2008', ['PeekMultipartMixed', 'PeekMultipartMixedComplex']],
  ['gives commands a place of their own: NO where RFC 3501 §7.1.3 has BAD', ['ValidSelected']],
];

const skipped = new Map(reasons.flatMap(([why, names]) => names.map((name) => [name, why] as const)));

/** What James' own preparation puts into `selected`: four messages like this. */
const prepared = [1, 2, 3, 4].map((number) =>
  [
    'Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)',
    'From: Fred Foobar <foobar@Blurdybloop.COM>',
    `Subject: Test 0${number}`,
    'To: mooch@owatagu.siam.edu',
    'Message-Id: <B27397-0100000@Blurdybloop.COM>',
    'MIME-Version: 1.0',
    'Content-Type: TEXT/PLAIN; CHARSET=US-ASCII',
    '',
    `Test 0${number}`,
    '',
  ].join('\r\n'),
);
let imap: ImapFixture | undefined;
afterEach(async () => {
  await imap?.stop();
  imap = undefined;
});

describe.skipIf(folder === undefined)('scripts of James (skipped where ../shared/testdata is absent)', () => {
  const names = folder === undefined ? [] : readdirSync(`${folder}james-mpt`).filter((name) => name.endsWith('.test'));

  it('those that are not played exist', () => {
    expect([...skipped.keys()].filter((name) => !names.includes(`${name}.test`))).toEqual([]);
  });

  for (const file of names) {
    const name = file.replace('.test', '');
    const why = skipped.get(name);
    it.skipIf(why !== undefined)(`${name}${why === undefined ? '' : `: ${why}`}`, async () => {
      imap = await makeImap();
      const exchanges = readJames(`${folder}james-mpt/${file}`);
      expect(exchanges.length).toBeGreaterThan(0);
      const { mailbox } = imap.account;
      await mailbox.create('selected');
      const selected = await mailbox.folder('selected');
      for (const text of prepared) await selected!.append(Buffer.from(text), { flags: [], internalDate: 0 });
      expect(await playJames(exchanges, imap.securePort)).toBeUndefined();
    });
  }
});

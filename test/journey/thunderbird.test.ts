// Debian's Thunderbird against one real `epost up`: reading, writing, and what is left after a restart.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing } from '../needs.ts';
import { TestHome } from './fixtures/home.ts';
import { MailProgram } from './fixtures/mailbox.ts';
import { field, message, withAttachment } from './fixtures/message.ts';
import type { RunningEpost } from './fixtures/running.ts';
import { Thunderbird } from './fixtures/thunderbird.ts';
import { until } from './fixtures/until.ts';

const thea = 'thea@example.org';
const bob = 'bob@example.org';
let home: TestHome;
let epost: RunningEpost;

beforeAll(async () => {
  home = await TestHome.make({ flags: { users: 'thea,bob' } });
  epost = await home.up();
}, 90_000);

afterAll(() => home?.remove());

const from = 'Friend <friend@sender.test>';
const html = message({
  from,
  to: thea,
  subject: 'in HTML',
  body: '<p>Read <b>this</b>.</p>\r\n',
  fields: ['Content-Type: text/html; charset=utf-8'],
});
const attached = withAttachment({ from, to: thea, subject: 'attached' }, Buffer.alloc(9_000, 'abc'));
const international = message({
  from: '=?utf-8?Q?Ren=C3=A9e_M=C3=BCller?= <renee@sender.test>',
  to: thea,
  subject: '=?utf-8?B?R3LDvMOfZSDkvaDlpb0=?=',
});

// EPOST_SCREENSHOTS names a folder: then there are pictures of each step, for people.
async function picture(thunderbird: Thunderbird, name: string): Promise<void> {
  const folder = process.env['EPOST_SCREENSHOTS'];
  if (folder !== undefined) await writeFile(path.join(folder, `${name}.png`), await thunderbird.screenshot());
}

const list = `
  const about = await pane();
  const inbox = await until(() => folder('Inbox'));
  about.displayFolder(inbox.URI);
  await until(() => about.gFolder?.URI === inbox.URI && about.gDBView?.rowCount === args[0]);
  const headers = [...inbox.messages];
  return headers.map((one) => ({ subject: one.mime2DecodedSubject, author: one.mime2DecodedAuthor, read: one.isRead }));
`;

const select = `
  const about = await pane();
  const inbox = await until(() => folder('Inbox'));
  about.displayFolder(inbox.URI);
  await until(() => about.gFolder?.URI === inbox.URI && about.gDBView?.rowCount >= args[1]);
  const row = await until(() => {
    for (let i = 0; i < about.gDBView.rowCount; i++)
      if (about.gDBView.getMsgHdrAt(i).mime2DecodedSubject === args[0]) return i + 1;
  });
  about.threadTree.selectedIndex = row - 1;
`;

const read = `${select}
  const shown = () => about.messageBrowser.contentWindow;
  const document = () => shown().getMessagePaneBrowser()?.contentDocument;
  const body = () => document()?.querySelector('.moz-text-html, .moz-text-plain, .moz-text-flowed')?.textContent ?? '';
  await until(() => shown().gMessage?.mime2DecodedSubject === args[0] && body().includes(args[2]));
  return { body: body().trim(), attachments: shown().currentAttachments.map((one) => one.name) };
`;

const remove = `${select}
  about.goDoCommand('cmd_delete');
  await until(() => about.gDBView.rowCount === args[1] - 1);
`;

const send = `
  const fields = Cc['@mozilla.org/messengercompose/composefields;1'].createInstance(Ci.nsIMsgCompFields);
  [fields.to, fields.subject, fields.body] = args;
  const parameters = Cc['@mozilla.org/messengercompose/composeparams;1'].createInstance(Ci.nsIMsgComposeParams);
  parameters.composeFields = fields;
  parameters.identity = MailServices.accounts.accounts[0].defaultIdentity;
  parameters.format = Ci.nsIMsgCompFormat.PlainText;
  MailServices.compose.OpenComposeWindowWithParams(null, parameters);
  const compose = await until(() => Services.wm.getMostRecentWindow('msgcompose'));
  await until(() => compose.gMsgCompose?.editor && compose.document.getElementById('msgSubject').value === args[1]);
  await until(() => !compose.document.getElementById('button-send').disabled);
  compose.goDoCommand('cmd_sendNow');
  await until(() => compose.closed);
`;

describe.skipIf(missing('thunderbird'))('Thunderbird', () => {
  test('shows the inbox, reads, sends with one copy in Sent, hears of new mail, deletes, and keeps what was read', async () => {
    const account = {
      user: thea,
      password: epost.password(thea),
      imap: epost.port('imap'),
      submission: epost.port('submission'),
      certificate: path.join(home.folder, 'tls', 'cert.pem'),
    };
    const own = path.join(path.dirname(home.folder), 'thunderbird');
    const mail = await MailProgram.open(epost, thea);
    const other = await MailProgram.open(epost, bob);
    for (const bytes of [html, attached, international]) await mail.imap.append('INBOX', bytes, []);
    const seen = async (): Promise<boolean[]> => (await mail.messages()).map(({ flags }) => flags.has('\\Seen'));

    let thunderbird = await Thunderbird.start(own, account);
    try {
      expect(await thunderbird.run(list, 3)).toEqual([
        { subject: 'in HTML', author: 'Friend <friend@sender.test>', read: false },
        { subject: 'attached', author: 'Friend <friend@sender.test>', read: false },
        { subject: 'Grüße 你好', author: 'Renée Müller <renee@sender.test>', read: false },
      ]);
      await picture(thunderbird, 'inbox');
      expect(await thunderbird.run(read, 'in HTML', 3, 'Read')).toEqual({ body: 'Read this.', attachments: [] });
      await picture(thunderbird, 'html');
      const withFile = await thunderbird.run(read, 'attached', 3, 'See');
      expect(withFile).toMatchObject({ attachments: ['report.bin'] });
      await picture(thunderbird, 'attached');
      await until('two are marked as read', async () => String(await seen()) === 'true,true,false');

      await thunderbird.run(send, bob, 'Größe from Thunderbird', 'Schöne Grüße from Thunderbird.');
      const got = await other.waitFor('it is with Bob', () => true);
      expect(field(got.bytes, 'From')).toBe(`Thea <${thea}>`);
      const copy = await mail.waitFor('the copy is in Sent', () => true, 'Sent');
      expect(field(copy.bytes, 'Message-ID')).toBe(field(got.bytes, 'Message-ID'));
      // Its window closes when its own copy is stored.
      expect(await mail.messages('Sent')).toHaveLength(1);

      await mail.imap.append('INBOX', message({ from: bob, to: thea, subject: 'it came later' }), []);
      expect(await thunderbird.run(list, 4)).toMatchObject([{}, {}, {}, { subject: 'it came later', read: false }]);
      await thunderbird.quit();

      await mail.imap.mailboxOpen('INBOX');
      await mail.imap.messageFlagsAdd('3', ['\\Seen'], { uid: true });
      thunderbird = await Thunderbird.start(own, account);
      await until('it shows what was read in it, and elsewhere while it was closed', async () => {
        const found = (await thunderbird.run(list, 4)) as { read: boolean }[];
        return String(found.map((one) => one.read)) === 'true,true,true,false';
      });
      await thunderbird.run(read, 'it came later', 4, 'It works.');
      await picture(thunderbird, 'after-restart');
      await until('all are marked as read', async () => String(await seen()) === 'true,true,true,true');
      await thunderbird.run(remove, 'attached', 4);
      const deleted = await mail.waitFor('it is in Trash', () => true, 'Trash');
      expect(deleted.bytes.equals(attached)).toBe(true);
      await until('it is out of the inbox', async () => (await mail.messages()).length === 3);
      expect(await mail.messages('Sent')).toHaveLength(1);
      await thunderbird.quit();
    } finally {
      thunderbird.kill();
      mail.close();
      other.close();
    }
  }, 240_000);
});

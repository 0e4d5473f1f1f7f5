/** Mail to the servers that the world runs: it arrives once, and as it was signed; what they cannot take fails at once and says why. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dkimVerify } from 'mailauth/lib/dkim/verify.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDkimKeys, type DkimKey } from '../../../gateway/dkim/keys.ts';
import { dkimRecord } from '../../../gateway/dkim/record.ts';
import { dkimSignatures } from '../../../gateway/dkim/sign.ts';
import { missing } from '../../needs.ts';
import { lifeOf } from './hostile/life-of-mail.ts';
import { type RealHost, type RealHostName, realHostLimit, realHosts, startRealHost } from './real-host.ts';

let dir: string;
let keys: DkimKey[];
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'epost-real-hosts-'));
  keys = await createDkimKeys(join(dir, 'dkim'), 'test');
});
afterAll(() => rm(dir, { recursive: true }));

/** Namespaces are root's. */
function lacking(name: RealHostName): string | undefined {
  return process.getuid?.() === 0 ? missing(name, 'unshare') : 'only root makes namespaces';
}

let count = 0;
async function signed(subject: string, text: string): Promise<{ id: string; bytes: Buffer }> {
  count += 1;
  const id = `<${count}.${process.pid}@example.org>`;
  const header = `Date: Thu, 26 Nov 2026 10:00:00 +0000\r\nFrom: Alice <alice@example.org>\r\nTo: a@dest.example\r\nMessage-ID: ${id}\r\nSubject: ${subject}\r\n`;
  const mime = 'MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n';
  const message = Buffer.from(`${header}${mime}\r\n${text}`);
  const signatures = await dkimSignatures(message, { domain: 'example.org', keys, now: Date.now() });
  return { id, bytes: Buffer.concat([signatures, message]) };
}

async function verdicts(message: Buffer): Promise<string[]> {
  const records = keys.map((key) => dkimRecord(key, 'example.org'));
  const { results } = await dkimVerify(message, {
    resolver: async (name: string) => [[...(records.find((record) => record.name === name)?.strings ?? [])]],
  });
  return results.map(({ status }) => status.result);
}

for (const name of realHosts) {
  const why = lacking(name);
  describe.skipIf(why !== undefined)(`${name}${why === undefined ? '' : ` (${why})`}`, () => {
    let host: RealHost;
    beforeAll(async () => {
      host = await startRealHost(name);
    }, 60_000);
    afterAll(async () => host.stop());

    const arrived = async (id: string): Promise<Buffer[]> =>
      (await host.inbox()).filter((message) => message.includes(`Message-ID: ${id}`));

    async function arrivesOnce(id: string): Promise<Buffer> {
      const end = Date.now() + 30_000;
      while ((await arrived(id)).length === 0) {
        if (Date.now() > end) throw new Error(`it never arrived: ${host.said()}`);
        await new Promise((resolve) => {
          setTimeout(resolve, 50);
        });
      }
      const [message, ...others] = await arrived(id);
      expect(others).toEqual([]);
      return message ?? Buffer.alloc(0);
    }

    test('8-bit text, lines with dots and a letter of 998 octets arrive once, under TLS where it has any, and the signatures hold', async () => {
      const text = `Grüße\r\n.\r\n..\r\n.dot\r\n${'x'.repeat(998)}\r\n\r\n \t\r\nend`;
      const { id, bytes } = await signed('hello', text);
      const life = await lifeOf({ port: host.port, message: bytes });
      expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
      const message = await arrivesOnce(id);
      expect(await verdicts(message)).toEqual(['pass', 'pass']);
      expect(message.toString()).toContain('Grüße');
      // OpenSMTPD as Debian 12 builds it cannot end its own handshakes (its keys live in another process, and OpenSSL 3 does not ask that one): it gets what a
      // host without TLS gets (RFC 7435 §3).
      const levels = name === 'smtpd' ? ['encrypted', 'plain'] : ['encrypted'];
      expect(levels).toContain(life.events.find(({ what }) => what === 'transport')?.['level']);
    });

    test('a header beyond ASCII arrives; an address beyond ASCII is taken, or fails at once with the reason (RFC 6531 §3.5)', async () => {
      const { id, bytes } = await signed('Grüße', 'hello\r\n');
      const life = await lifeOf({ port: host.port, message: bytes });
      expect(life).toMatchObject({ end: 'done', told: [] });
      await arrivesOnce(id);
      const abroad = await lifeOf({ port: host.port, message: bytes, recipients: ['jürgen@dest.example'] });
      // Postfix knows SMTPUTF8 and does not know him, Exim takes whomever it is told, OpenSMTPD knows no SMTPUTF8.
      const wanted = {
        postfix: ['jürgen@dest.example failed 5.1.1'],
        exim4: [],
        smtpd: ['jürgen@dest.example failed 5.6.7'],
      };
      expect(abroad.told).toEqual(wanted[name]);
      expect(abroad.tries).toBe(1);
    });

    test('who asks for a report is given over to it where it knows DSN', async () => {
      const { id, bytes } = await signed('report', 'hello\r\n');
      const body = { dsn: [['a@dest.example', { notify: ['SUCCESS', 'FAILURE'], orcpt: 'rfc822;a@dest.example' }]] };
      const life = await lifeOf({
        port: host.port,
        message: bytes,
        body: { ...body, ret: 'HDRS', envid: 'x+y' } as never,
      });
      expect(life).toMatchObject({ end: 'done', tries: 1, told: [] });
      await arrivesOnce(id);
    });

    test('a message larger than it takes fails without being sent (RFC 1870)', async () => {
      const { bytes } = await signed('large', 'x\r\n'.repeat(realHostLimit / 3));
      const life = await lifeOf({ port: host.port, message: bytes });
      expect(life).toMatchObject({ end: 'done', tries: 1, told: ['a@dest.example failed 5.3.4'] });
    });

    test('one of two whom it does not know is told of, and the other gets it once', async () => {
      const { id, bytes } = await signed('two', 'hello\r\n');
      const life = await lifeOf({
        port: host.port,
        message: bytes,
        recipients: ['a@dest.example', 'nobody.here@dest.example'],
      });
      expect(life.told).toEqual([expect.stringMatching(/^nobody\.here@dest\.example failed 5\./)]);
      await arrivesOnce(id);
    });
  });
}

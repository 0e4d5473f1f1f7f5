import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waysOut } from '../../deploy/command/ways-out.ts';
import { gatewaySection } from '../../deploy/config/gateway-section.ts';
import { parseConfig } from '../../deploy/config/load.ts';
import { InputFault } from '../../deploy/config/problem.ts';
import { configText } from '../../deploy/config/template.ts';
import { deliverySettings } from '../../deploy/process/delivery-settings.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'epost-ways-'));
  writeFileSync(path.join(folder, 'password'), 'first\n', { mode: 0o600 });
});
afterAll(() => rmSync(folder, { recursive: true }));

const common = { domain: 'example.org', hostname: 'mx.example.org', portBase: 0, dns: [], mxPort: 25 };
const sectionOf = (routes: string, smarthost?: string) => {
  const text = configText({ ...common, smarthost, postmaster: 'alice@example.org', gateway: true });
  return gatewaySection(parseConfig(text.replace('routes: []', `routes: ${routes}`), 'f'), 'f');
};
const withLogin = (file: string): string =>
  `[{to: [a.example, '*.a.example'], via: 'mail.a.example:587', tls: verified, login: {user: ring, passwordFile: '${file}'}}, {to: [b.example], via: mx}]`;

describe('the ways that mail goes out', () => {
  it('are said where they are not the recipients’ own mail servers, without a password', () => {
    expect(waysOut(sectionOf(withLogin(path.join(folder, 'password')), 'mail.example.net:25'))).toEqual([
      'mail for a.example, *.a.example goes to mail.a.example port 587 (TLS verified, as ring)',
      "mail for b.example goes to the domain's own mail servers",
      'mail for all others goes to mail.example.net port 25 (TLS opportunistic)',
    ]);
    expect(waysOut(sectionOf('[]', 'mail.example.net:25'))).toEqual([
      'mail for everybody outside goes to mail.example.net port 25 (TLS opportunistic)',
    ]);
    expect(waysOut(sectionOf('[]'))).toEqual([]);
  });

  it('that a password goes to a host that proves nothing is said', () => {
    const text = withLogin(path.join(folder, 'password')).replace('tls: verified', 'tls: encrypted');
    expect(waysOut(sectionOf(text))[0]).toContain(
      '(TLS encrypted, as ring; the password goes to any certificate: verified is safer)',
    );
  });

  it('a password file that is not there is a mistake, told with its name', () => {
    const missing = path.join(folder, 'missing');
    expect(() => waysOut(sectionOf(withLogin(missing)))).toThrow(InputFault);
    expect(() => waysOut(sectionOf(withLogin(missing)))).toThrow(missing);
  });

  it('a new password is used at once, and one that cannot be read leaves the last in use', () => {
    const file = path.join(folder, 'changing');
    const errors: object[] = [];
    writeFileSync(file, 'first\n', { mode: 0o600 });
    const log = { error: (fields: object) => void errors.push(fields) };
    const via = deliverySettings(sectionOf(withLogin(file)), log).routes?.[0]?.via;
    const login = via === 'mx' ? undefined : via?.login;
    expect(login?.password()).toBe('first');
    writeFileSync(file, 'second\n');
    expect(login?.password()).toBe('second');
    rmSync(file);
    expect(login?.password()).toBe('second');
    expect(errors).toHaveLength(1);
  });
});

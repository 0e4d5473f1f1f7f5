import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig, parseConfig } from '../../deploy/config/load.ts';
import { configText } from '../../deploy/config/template.ts';
import { createHome } from '../../deploy/home/create.ts';
import { gatewayChoices, gatewayShare, gatewayShareSchema } from '../../deploy/home/gateway-share.ts';
import type { Layout } from '../../deploy/home/layout.ts';
import type { Domain } from '../../policy/address.ts';

let folder: string;
let layout: Layout;
const choices = { domain: 'example.org' as Domain, hostname: 'mx.example.org', portBase: 0, dns: [], mxPort: 25 };

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'epost-share-'));
  ({ layout } = await createHome(path.join(folder, 'home'), {
    ...choices,
    users: ['alice'],
    redisUrl: 'redis://127.0.0.1:6379/0',
    smarthost: 'mail.example.net:587',
    passphrase: undefined,
    now: Date.now(),
  }));
});
afterAll(() => rmSync(folder, { recursive: true }));

const delivery = {
  smarthostAuth: { user: 'ring', passwordFile: '/etc/epost/pass: "word"' },
  smarthostTls: 'verified',
  routes: [{ to: ['a.example', '*.a.example'], via: 'mail.a.example:25', tls: 'encrypted', login: null }],
  addressLiterals: true,
} as const;

it('a further gateway sends mail the same ways out, with the logins’ files where they are here', async () => {
  const text = readFileSync(layout.config, 'utf8')
    .replace('smarthostAuth: null', `smarthostAuth: ${JSON.stringify(delivery.smarthostAuth)}`)
    .replace('smarthostTls: opportunistic', 'smarthostTls: verified')
    .replace('routes: []', `routes: ${JSON.stringify(delivery.routes)}`)
    .replace('addressLiterals: false', 'addressLiterals: true');
  writeFileSync(layout.config, text);
  const share = gatewayShareSchema.parse(await gatewayShare(layout, loadConfig(layout.config), undefined));
  const there = parseConfig(configText({ ...choices, ...gatewayChoices(share) }), 'there');
  expect(there.gateway?.delivery).toMatchObject({ ...delivery, smarthost: 'mail.example.net:587' });
});

it('an invitation of before says nothing of them', async () => {
  const { delivery: _, ...before } = await gatewayShare(layout, loadConfig(layout.config), undefined);
  expect(gatewayShareSchema.parse(before).delivery).toEqual({
    smarthostAuth: null,
    smarthostTls: 'opportunistic',
    routes: [],
    addressLiterals: false,
  });
});

import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import type { RunningEpost } from './fixtures/running.ts';

let home: TestHome;
let epost: RunningEpost;

beforeAll(async () => {
  home = await TestHome.make({ config: (text) => text.replace('minFree: 256MiB', 'minFree: 999999GiB') });
  epost = await home.up();
});
afterAll(() => home?.remove());

test('with less room than minFree a client is told to come again in place of the greeting', async () => {
  const socket = connect(epost.port('mx'), '127.0.0.1');
  let said = '';
  for await (const chunk of socket) said += String(chunk);
  expect(said).toMatch(/^421 4\.3\.1 cannot store mail at the moment, please try again later \([0-9A-Z]+\)\r\n$/);
});

test('the health page, the metrics and `epost status` say why', async () => {
  const at = `http://127.0.0.1:${epost.port('http')}`;
  const ready = await fetch(`${at}/readyz`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toMatch(/bytes are free where the queue lies/);
  expect(await (await fetch(`${at}/metrics`)).text()).toMatch(/^epost_storage_shut\{part="gateway"\} 1$/m);
  const status = await home.run('status');
  expect(status.out).toMatch(/^gateway: NOT WELL: only \d+ bytes are free where the queue lies; it wants \d+$/m);
  expect(status.out).toMatch(/^node: well$/m);
});

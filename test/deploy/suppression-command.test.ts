/** `epost suppression list|add|remove` on a home whose gateway runs: another process has its queue open. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHome } from '../../deploy/home/create.ts';
import { openQueue } from '../../deploy/process/open-queue.ts';
import { Suppression } from '../../gateway/relay/suppression.ts';
import type { Domain } from '../../policy/address.ts';
import type { Queue } from '../../queue/queue.ts';
import { runEpost } from '../journey/fixtures/program.ts';

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
let folder: string;
let queue: Queue;
let inGateway: Suppression;
const epost = (...args: string[]) => runEpost(['suppression', ...args, '--home', path.join(folder, 'home')]);
const jsonOf = async (...args: string[]) => JSON.parse((await epost(...args, '--json')).out) as unknown;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'epost-suppression-'));
  const { layout } = await createHome(path.join(folder, 'home'), {
    domain: 'example.org' as Domain,
    hostname: 'mx.example.org',
    users: ['alice'],
    portBase: 0,
    dns: [],
    mxPort: 25,
    passphrase: undefined,
    now: Date.now(),
  });
  const section = { kind: 'embedded', minFree: 1, keepFinished: 1, maxAge: 1 } as const;
  queue = await openQueue(layout, section, { role: 'owner', ring: 'example.org', log: quiet });
  inGateway = new Suppression(queue, Date.now);
});
afterAll(async () => {
  await queue.close();
  rmSync(folder, { recursive: true });
});

describe('the list of addresses that are not tried', () => {
  it('is empty at first', async () => {
    expect(await jsonOf('list')).toEqual([]);
    expect(await epost('list')).toMatchObject({ code: 0, err: '' });
  });

  it('takes what the postmaster says, which the gateway knows at once, and shows why', async () => {
    expect(await epost('add', 'Bob@Dest.Example', '--because', 'he asked us to')).toMatchObject({ code: 0, err: '' });
    expect((await inGateway.look('bob@dest.example')).suppressed).toMatchObject({ because: 'he asked us to' });
    expect((await epost('list')).out).toMatch(/Bob@dest\.example .*he asked us to/);
  });

  it('shows what messages proved', async () => {
    const proof = (trace: string) => ({ at: Date.now(), trace, status: '5.1.1', said: '550 5.1.1 no such user' });
    await inGateway.refused('gone@dest.example', proof('trace-1'));
    await inGateway.refused('gone@dest.example', proof('trace-2'));
    const { out } = await epost('list');
    expect(out).toMatch(/gone@dest\.example .*550 5\.1\.1 no such user .*trace-1, trace-2/);
    expect(await jsonOf('list')).toMatchObject([{ address: 'Bob@dest.example' }, { address: 'gone@dest.example' }]);
  });

  it('lets an address go, and says where it was not there', async () => {
    expect(await epost('remove', 'gone@dest.example')).toMatchObject({ code: 0 });
    expect((await inGateway.look('gone@dest.example')).suppressed).toBeUndefined();
    const again = await epost('remove', 'gone@dest.example', '--json');
    expect(again.code).toBe(3);
    expect(JSON.parse(again.out)).toEqual({ address: 'gone@dest.example', removed: false });
  });

  it('takes nothing but addresses', async () => {
    const refused = await epost('add', 'nobody');
    expect(refused.code).toBe(2);
    expect(refused.err).toContain('expected a mail address');
  });
});

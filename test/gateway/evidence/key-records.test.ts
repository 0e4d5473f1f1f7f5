import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { KeyRecords } from '../../../gateway/evidence/key-records.ts';

const recordOf = (bits = 2_048): string => {
  const { publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return `v=DKIM1; k=rsa; p=${publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`;
};
const rules = { strict: true, hashAlgo: 'sha256' };

function records(record: () => string): { readonly keys: KeyRecords; readonly asked: string[] } {
  const asked: string[] = [];
  const keys = new KeyRecords(async (name) => {
    asked.push(name);
    return [[record()]];
  });
  return { keys, asked };
}

describe('key records', () => {
  it('are asked for once for a message, and by each message', async () => {
    const record = recordOf();
    const { keys, asked } = records(() => record);
    const one = await keys.get('DKIM', 's._domainkey.a.example', undefined, rules);
    expect(await keys.get('ARC', 's._domainkey.a.example', undefined, rules)).toBe(one);
    expect(asked).toHaveLength(1);
    const again = records(() => record);
    // Read before, so that the same key is there; but the DNS is asked: it may have changed.
    expect(await again.keys.get('DKIM', 's._domainkey.a.example', undefined, rules)).toBe(one);
    expect(again.asked).toHaveLength(1);
  });

  it('that changed are other keys', async () => {
    const [first, second] = [recordOf(), recordOf()];
    const one = await records(() => first).keys.get('DKIM', 's._domainkey.a.example', undefined, rules);
    const other = await records(() => second).keys.get('DKIM', 's._domainkey.a.example', undefined, rules);
    expect(other.publicKey.equals(one.publicKey)).toBe(false);
  });

  it('are judged by the rules of each question, whoever asked before', async () => {
    const record = recordOf(1_024);
    expect(await records(() => record).keys.get('DKIM', 's._domainkey.a.example', undefined, rules)).toMatchObject({
      modulusLength: 1_024,
    });
    const asked = records(() => record).keys.get('DKIM', 's._domainkey.a.example', 2_048, rules);
    await expect(asked).rejects.toMatchObject({ code: 'ESHORTKEY' });
    const only = `${record}; h=sha1`;
    await expect(records(() => only).keys.get('DKIM', 'n', undefined, rules)).rejects.toMatchObject({
      code: 'EINVALIDHASH',
    });
    expect(await records(() => only).keys.get('DKIM', 'n', undefined, { ...rules, hashAlgo: 'sha1' })).toBeDefined();
  });

  it('that are revoked are no keys, also where another key of that name was read before', async () => {
    let record = recordOf();
    await records(() => record).keys.get('DKIM', 's._domainkey.a.example', undefined, rules);
    record = 'v=DKIM1; p=';
    const asked = records(() => record).keys.get('DKIM', 's._domainkey.a.example', undefined, rules);
    await expect(asked).rejects.toMatchObject({ code: 'EINVALIDVAL' });
  });
});

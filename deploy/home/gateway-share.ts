/**
 * What a further gateway of a ring needs to be the same gateway: the two identities it speaks as (relay requests are sealed to one of them, return paths and
 * provenance are proven by its key), the DKIM keys that are published, and where the common queue is. Nothing of it may be made anew there: what one
 * gateway began the other must be able to end. It travels inside an invitation, which is as secret as what it holds.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { readKeyFile, writeKeyFile } from '../../node/identity/key-file.ts';
import { InputFault } from '../config/problem.ts';
import { type Config, parseHostPort, sharedDelivery } from '../config/schema.ts';
import type { Choices } from '../config/template.ts';
import { readHomeFile, writeFileDurably } from './files.ts';
import type { Layout } from './layout.ts';

const bytes = (most: number) => z.instanceof(Uint8Array).refine((value) => value.length >= 1 && value.length <= most);
const identity = z.strictObject({ keys: bytes(64), certificate: bytes(4_096) });
/** A key pair, its stage and its record; names as our own commands make them. */
const fileName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/);

export const gatewayShareSchema = z.strictObject({
  identity,
  mailerDaemon: identity,
  /** Some selectors in turn, of two keys each. */
  dkim: z.array(z.strictObject({ name: fileName, bytes: bytes(16_384) })).max(64),
  policy: z.string().max(1_048_576),
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//)
    .max(1_000),
  postmaster: z.string().max(320),
  dns: z
    .array(
      z
        .string()
        .max(300)
        .refine((text) => parseHostPort(text) !== undefined),
    )
    .max(8),
  smarthost: z.string().max(300).nullable(),
  mxPort: z.int().min(1).max(65_535),
  /** Logins name their files, which have to be there too. */
  delivery: sharedDelivery.prefault({}),
});

export type GatewayShare = z.infer<typeof gatewayShareSchema>;

/** Throws an InputFault where this home has no gateway, or one whose queue nobody else can reach. */
export async function gatewayShare(
  layout: Layout,
  { gateway }: Config,
  passphrase: string | undefined,
): Promise<GatewayShare> {
  if (gateway?.queue.kind !== 'redis') {
    const found = gateway === undefined ? 'no gateway' : 'a queue in this home';
    const expected = 'a gateway whose queue lies in Redis';
    const suggestion = 'set gateway.queue to {kind: redis, url: …}, restart, then invite';
    throw new InputFault([{ file: layout.config, path: 'gateway.queue', found, expected, suggestion }]);
  }
  const secrecy = passphrase === undefined ? {} : { passphrase };
  const identityOf = async (key: string, certificate: string) => ({
    keys: new Uint8Array(await readKeyFile(key, { kind: 'identity', ...secrecy })),
    certificate: new Uint8Array(readHomeFile(certificate, 'the certificate')),
  });
  const files = layout.gateway;
  const { delivery, dns, aliases } = gateway;
  const { smarthostAuth, smarthostTls, routes, addressLiterals } = delivery;
  return {
    identity: await identityOf(files.key, files.certificate),
    mailerDaemon: await identityOf(files.mailerDaemonKey, files.mailerDaemonCertificate),
    dkim: readdirSync(files.dkim)
      .filter((name) => fileName.safeParse(name).success)
      .map((name) => ({ name, bytes: new Uint8Array(readFileSync(path.join(files.dkim, name))) })),
    policy: readFileSync(layout.policy, 'utf8'),
    redisUrl: gateway.queue.url,
    postmaster: Object.entries(aliases).find(([name]) => name.startsWith('postmaster'))?.[1] ?? '',
    dns: [...dns.servers],
    smarthost: delivery.smarthost,
    mxPort: delivery.mxPort,
    delivery: { smarthostAuth, smarthostTls, routes, addressLiterals },
  };
}

/** The keys under this home's own pass phrase. */
export async function placeGateway(layout: Layout, share: GatewayShare, passphrase: string | undefined): Promise<void> {
  const files = layout.gateway;
  const secrecy = passphrase === undefined ? {} : { passphrase };
  mkdirSync(files.dkim, { recursive: true, mode: 0o700 });
  await writeKeyFile(files.key, share.identity.keys, { kind: 'identity', ...secrecy });
  writeFileDurably(files.certificate, share.identity.certificate);
  await writeKeyFile(files.mailerDaemonKey, share.mailerDaemon.keys, { kind: 'identity', ...secrecy });
  writeFileDurably(files.mailerDaemonCertificate, share.mailerDaemon.certificate);
  for (const { name, bytes: content } of share.dkim) writeFileDurably(path.join(files.dkim, name), content);
  writeFileDurably(layout.policy, share.policy);
}

/** The configuration of the further gateway, as far as the first one says it. */
export function gatewayChoices(
  share: GatewayShare,
): Pick<Choices, 'redisUrl' | 'dns' | 'smarthost' | 'delivery' | 'mxPort' | 'postmaster' | 'gateway'> {
  const { redisUrl, dns, smarthost, delivery, mxPort, postmaster } = share;
  return { redisUrl, dns, smarthost: smarthost ?? undefined, delivery, mxPort, postmaster, gateway: true };
}

import {
  createStagedKeys,
  type KeyWithStage,
  readStagedKeys,
  removeKeys,
  writeStages,
} from '../../gateway/dkim/key-stages.ts';
import { dkimRecord } from '../../gateway/dkim/record.ts';
import { seenInDns } from '../../gateway/dkim/seen.ts';
import { afterStep, nextStep, retiringWaitMs, type Seen, type Step } from '../../gateway/dkim/stages.ts';
import type { RingDescriptor } from '../../node/identity/ring.ts';
import { gatewaySection } from '../config/gateway-section.ts';
import { loadConfig } from '../config/load.ts';
import { dkimLabel } from '../home/create.ts';
import { type Layout, layoutOf, runFolder } from '../home/layout.ts';
import { acquireLock } from '../home/lock.ts';
import { readRing } from '../home/ring-files.ts';
import { resolverOf } from './dns-resolver.ts';
import { txtRecordText } from './dns-text.ts';
import { type Command, exitCodes, type Given } from './line.ts';
import { homeOf, homeOption, jsonOption } from './options.ts';
import { print, printable, printJson, tableText } from './screen.ts';

const common = { home: homeOption, json: jsonOption };

interface Keyring {
  readonly layout: Layout;
  readonly ring: RingDescriptor;
  readonly keys: readonly KeyWithStage[];
  readonly seen: ReadonlyMap<string, Seen>;
  readonly step: Step;
}

export const dkimStatus: Command = {
  name: 'dkim status',
  summary: 'the DKIM keys: at which stage each is, whether the DNS shows it, and what comes next',
  positionals: [],
  options: common,
  run: async (given) => {
    const keyring = await look(given);
    if (given.switches.has('json'))
      printJson({
        keys: keyring.keys.map(({ selector, stage, since, key }) => ({
          selector,
          algorithm: key.algorithm,
          stage,
          since,
          dns: keyring.seen.get(selector),
        })),
        next: keyring.step,
      });
    else {
      const rows = keyring.keys.map(({ selector, stage, since, key }) => [
        selector,
        key.algorithm,
        stage,
        since === 0 ? '' : day(since),
        said(keyring.seen.get(selector)),
      ]);
      print(tableText(['SELECTOR', 'ALGORITHM', 'STAGE', 'SINCE', 'DNS'], rows));
      print(`\n${sentence(keyring.step)}`);
    }
    // What signs and cannot be verified is a fault that everybody out there sees.
    const bad = keyring.keys.some(({ selector, stage }) => stage === 'signing' && isWrong(keyring.seen.get(selector)));
    return bad ? exitCodes.failed : exitCodes.done;
  },
};

export const dkimRotate: Command = {
  name: 'dkim rotate',
  summary: 'take the next step of a rotation of the DKIM keys, if the DNS and the time allow it',
  details: `Call it again and again; each call takes one step, and says what is to be done before the next:
  1. a new pair of keys is made (stage new) and its records are printed: publish them
  2. the DNS shows them in every domain of the ring (published)
  3. an hour later the new pair signs (signing) and the old one does not any more (retiring)
  4. a week later the old keys are removed, and their records may go too
A running gateway takes a switch up within a minute. Nothing is switched while the DNS does not show the new records.`,
  positionals: [],
  options: { ...common, 'dry-run': { help: 'say which step would be taken, and take none' } },
  run: async (given) => {
    const layout = layoutOf(homeOf(given.values, process.env));
    readRing(layout);
    const lock = await acquireLock(`${runFolder(layout)}/dkim.lock`, 'a rotation of DKIM keys');
    try {
      return await rotate(given, await look(given));
    } finally {
      await lock.release();
    }
  },
};

async function rotate(given: Given, { layout, ring, keys, step }: Keyring): Promise<number> {
  const dryRun = given.switches.has('dry-run');
  const dir = layout.gateway.dkim;
  const now = Date.now();
  if (!dryRun) {
    if (step.kind === 'make') await createStagedKeys(dir, freeLabel(keys, now), now);
    else if (step.kind === 'remove') await removeKeys(dir, step.selectors, afterStep(keys, step, now));
    else if (step.kind === 'mark-published' || step.kind === 'switch')
      await writeStages(dir, afterStep(keys, step, now));
  }
  const made = step.kind === 'make' && !dryRun ? await readStagedKeys(dir) : keys;
  const toPublish = made
    .filter(({ stage }) => stage === 'new' && (step.kind === 'make' || step.kind === 'publish'))
    .flatMap(({ key }) => ring.domains.map((domain) => dkimRecord(key, domain)));
  if (given.switches.has('json')) printJson({ step, taken: !dryRun && takes(step), publish: toPublish });
  else {
    if (step.kind === 'make' && !dryRun)
      print('A new pair of keys is made. It signs only when its records are in the DNS; publish them:');
    else print(`${dryRun ? 'next: ' : ''}${sentence(step)}`);
    for (const { name, strings } of toPublish) print(txtRecordText(name, strings));
  }
  // What waits for a person is not done, and a timer that calls this should be told of it.
  return step.kind === 'publish' ? exitCodes.failed : exitCodes.done;
}

function takes(step: Step): boolean {
  return step.kind !== 'publish' && step.kind !== 'wait';
}

async function look(given: Given): Promise<Keyring> {
  const layout = layoutOf(homeOf(given.values, process.env));
  const ring = readRing(layout);
  const { dns } = gatewaySection(loadConfig(layout.config), layout.config);
  const resolver = resolverOf(dns);
  const keys = await readStagedKeys(layout.gateway.dkim);
  const seen = new Map(
    await Promise.all(
      keys.map(async ({ selector, key }) => [selector, await seenInDns(key, ring.domains, resolver)] as const),
    ),
  );
  return { layout, ring, keys, seen, step: nextStep(keys, seen, Date.now()) };
}

/** The month, and a letter behind it where this month has keys already. */
function freeLabel(keys: readonly KeyWithStage[], now: number): string {
  const month = dkimLabel(now);
  const labels = ['', ...'bcdefghijklmnopqrstuvwxyz'.split('')].map((letter) => `${month}${letter}`);
  const free = labels.find(
    (label) => !keys.some(({ selector }) => selector === `${label}r` || selector === `${label}e`),
  );
  return free ?? `${month}x${now.toString(36)}`;
}

function isWrong(seen: Seen | undefined): boolean {
  return seen?.kind === 'absent' || seen?.kind === 'different';
}

function said(seen: Seen | undefined): string {
  if (seen === undefined) return '';
  return seen.kind === 'right' ? 'right' : `${seen.kind}: ${seen.name}: ${printable(seen.found)}`;
}

function day(at: number): string {
  return new Date(at).toISOString().slice(0, 16).replace('T', ' ');
}

const sentences: { readonly [K in Step['kind']]: (step: Extract<Step, { kind: K }>) => string } = {
  make: () =>
    'No rotation is under way. `epost dkim rotate` makes a new pair of keys, which sign only when their records are in the DNS.',
  publish: ({ selectors, lacking }) =>
    `${both(selectors)} cannot sign yet: ${lacking.map(said).join('; ')}. Publish the records (\`epost dns\` prints them all), then call \`epost dkim rotate\` again.`,
  'mark-published': ({ selectors }) =>
    `The DNS shows ${both(selectors)}. They sign from an hour on, when all name servers have them: call \`epost dkim rotate\` then.`,
  wait: ({ stage, selectors, until }) =>
    stage === 'published'
      ? `${both(selectors)} may sign from ${day(until)} UTC on: call \`epost dkim rotate\` then.`
      : `${both(selectors)} do not sign any more; their records must stay until ${day(until)} UTC, for mail that is still under way.`,
  switch: ({ selectors, retire }) =>
    `${both(selectors)} sign now instead of ${both(retire)}, whose records must stay for ${retiringWaitMs / 86_400_000} days.`,
  remove: ({ selectors }) => `The keys ${both(selectors)} are removed; take their records out of the DNS.`,
};

function sentence(step: Step): string {
  return sentences[step.kind](step as never);
}

function both(selectors: readonly string[]): string {
  return selectors.join(' and ');
}

import type { Condition } from './condition.ts';
import { type Fact, type Stage, stages } from './evidence.ts';
import type { Reading } from './expression-reading.ts';
import { loadLimit, loadReply } from './load-rule-parts.ts';
import type { Loader } from './loader.ts';
import { implied, type Limit, type Rule, type Verdict, verdictsAt } from './policy.ts';
import { closest, didYouMean } from './problem.ts';
import type { Entry, Place } from './source.ts';
import { type NamedClass, noClass } from './view.ts';

/** A rule with the places that later checks point at. */
export interface PlacedRule {
  readonly rule: Rule;
  readonly place: Place;
  readonly reading: Reading | undefined;
  /** Part of it could not be read; what it would match is not known. */
  readonly broken: boolean;
}

const keys = ['id', 'stages', 'when', 'limit', 'do', 'reply', 'mode', 'note'] as const;
// Bounds the work of one decision. A thousand rules are decided in about a millisecond.
const maxRules = 1000;
const maxNote = 500;

/** The `rules:` section. Rules that cannot be read are reported and left out. */
export function loadRules(loader: Loader, place: Place, classes: readonly NamedClass[]): readonly PlacedRule[] {
  const seen = new Set<string>();
  return loader.source.items(place, maxRules).flatMap((item) => {
    if (!loader.source.isMapping(item)) {
      loader.source.report(item, { code: 'wrong-kind', found: 'no mapping', expected: 'a rule with id, when and do' });
      return [];
    }
    const entries = new Map(loader.source.entries(item, keys).map((entry) => [entry.key, entry]));
    return [new RuleReader(loader, item, entries, classes).read(seen)];
  });
}

class RuleReader {
  readonly #loader: Loader;
  readonly #place: Place;
  readonly #entries: ReadonlyMap<string, Entry>;
  readonly #classes: readonly NamedClass[];

  constructor(loader: Loader, place: Place, entries: ReadonlyMap<string, Entry>, classes: readonly NamedClass[]) {
    this.#loader = loader;
    this.#place = place;
    this.#entries = entries;
    this.#classes = classes;
  }

  read(seen: Set<string>): PlacedRule {
    const { source } = this.#loader;
    const at = this.#stages();
    const condition = this.#condition(at);
    const limit = this.#limit(at);
    const verdict = this.#verdict(at, limit);
    const mode = this.#entries.get('mode');
    const note = this.#entries.get('note');
    const rule: Rule = {
      id: this.#id(seen),
      line: source.line(this.#place),
      stages: at,
      mode: (mode && source.word(mode.value, ['enforce', 'shadow'] as const)) ?? 'enforce',
      when: condition?.value ?? always,
      limit,
      verdict,
      reply: this.#readable(verdict, limit)
        ? loadReply(this.#loader, this.#place, this.#entries.get('reply'), [verdict, limit?.over])
        : undefined,
      note: (note && source.text(note.value, 'a text'))?.slice(0, maxNote) ?? '',
    };
    const broken = (this.#entries.has('when') && !condition?.sound) || !this.#readable(verdict, limit);
    return { rule, place: this.#place, reading: condition?.reading, broken };
  }

  #id(seen: Set<string>): string {
    const { source } = this.#loader;
    const entry = this.#entries.get('id');
    const id = entry && source.text(entry.value, 'a name for the rule');
    if (entry === undefined || id === undefined) {
      if (entry === undefined)
        source.report(this.#place, { code: 'missing', found: 'a rule without id', expected: 'id: and a name' });
      return '';
    }
    if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(id)) {
      source.report(entry.value, { code: 'name', found: id, expected: 'small letters, digits, - and _' });
    } else if (Object.values(implied).includes(id as never)) {
      source.report(entry.value, {
        code: 'reserved',
        found: id,
        expected: 'another name',
        suggestion: `every policy has the implied rule ${id}`,
      });
    } else if (seen.has(id)) {
      source.report(entry.value, { code: 'duplicate-id', found: id, expected: 'a name no other rule has' });
    }
    seen.add(id);
    return id;
  }

  #stages(): readonly Stage[] {
    const { source } = this.#loader;
    const entry = this.#entries.get('stages');
    const { usualStage } = this.#loader;
    if (entry === undefined) return [usualStage];
    const places = source.isSequence(entry.value) ? source.items(entry.value, stages.length) : [entry.value];
    const found = places.flatMap((place) => {
      const stage = source.word(place, stages);
      if (stage !== undefined) this.#decidedHere(place, stage);
      return stage ?? [];
    });
    return found.length === 0 ? [usualStage] : found;
  }

  #isOurs(stage: Stage): boolean {
    return (this.#loader.whose === 'recipient') === (stage === 'notification');
  }

  // A rule that nobody asks would be silent for ever.
  #decidedHere(place: Place, stage: Stage): void {
    const recipient = this.#loader.whose === 'recipient';
    if (this.#isOurs(stage)) return;
    const expected = recipient ? 'notification' : stages.filter((one) => one !== 'notification').join(', ');
    const suggestion = recipient
      ? 'what comes before is the organisation’s to decide'
      : 'recipients decide there, each by his own policy: see epost policy user';
    const found = `${stage} in a policy of ${recipient ? 'a recipient' : 'the organisation'}`;
    this.#loader.source.report(place, { code: 'stage-not-yours', found, expected, suggestion });
  }

  // What a rule's verdict is not known to be says nothing about its reply or about other rules.
  #readable(verdict: Verdict | undefined, limit: Limit | undefined): boolean {
    return (!this.#entries.has('do') || verdict !== undefined) && (!this.#entries.has('limit') || limit !== undefined);
  }

  #condition(at: readonly Stage[]): { value: Condition; reading: Reading; sound: boolean } | undefined {
    const entry = this.#entries.get('when');
    if (entry === undefined) return undefined;
    const compiled = this.#loader.condition(entry.value);
    if (compiled === undefined) return undefined;
    this.#knownThere(entry.value, compiled.reading.facts, at);
    const sound = this.#classesExist(entry.value, compiled.reading);
    return { ...compiled, sound };
  }

  // A fact that is never there at a stage would make the rule match always or never, silently.
  #knownThere(place: Place, facts: readonly Fact[], at: readonly Stage[]): void {
    for (const fact of facts) {
      const missing = at.filter((stage) => !fact.stages.includes(stage));
      if (missing.length === 0) continue;
      const found = `${fact.path} in a rule for ${missing.join(', ')}`;
      const suggestion = this.#entries.has('stages') ? '' : `a rule without stages: is for ${this.#loader.usualStage}`;
      this.#loader.source.report(place, {
        code: 'not-known-there',
        found,
        expected: `a stage that knows it: ${fact.stages.filter((stage) => this.#isOurs(stage)).join(', ') || 'none of this policy’s'}`,
        suggestion,
      });
    }
  }

  #classesExist(place: Place, reading: Reading): boolean {
    const names = [...this.#classes.map(({ name }) => name), noClass];
    const wrong = reading.classWords.filter(({ word }) => !names.includes(word));
    for (const { word, at } of wrong) {
      const suggestion = didYouMean(word, names);
      this.#loader.source.report(
        place,
        { code: 'unknown-class', found: `"${word}"`, expected: `one of ${names.join(', ')}`, suggestion },
        at,
      );
    }
    return wrong.length === 0;
  }

  #limit(at: readonly Stage[]): Limit | undefined {
    const entry = this.#entries.get('limit');
    if (entry === undefined) return undefined;
    const limit = loadLimit(this.#loader, entry.value);
    if (limit === undefined) return undefined;
    this.#knownThere(entry.value, [...limit.by.facts, ...(limit.cost?.facts ?? [])], at);
    this.#possible(entry.value, limit.over, at);
    return limit;
  }

  #verdict(at: readonly Stage[], limit: Limit | undefined): Verdict | undefined {
    const { source } = this.#loader;
    const entry = this.#entries.get('do');
    if (entry === undefined) {
      if (limit === undefined && !this.#entries.has('limit')) {
        source.report(this.#place, {
          code: 'missing',
          found: 'a rule without do',
          expected: `do: and one of ${this.#loader.verdicts.join(', ')}`,
        });
      }
      return undefined;
    }
    const verdict = source.word(entry.value, this.#loader.verdicts);
    if (verdict !== undefined) this.#possible(entry.value, verdict, at);
    return verdict;
  }

  #possible(place: Place, verdict: Verdict, at: readonly Stage[]): void {
    for (const stage of at) {
      if (verdictsAt[stage].includes(verdict)) continue;
      const possible = verdictsAt[stage];
      const expected = `one of ${possible.join(', ')}`;
      const suggestion = closest(verdict, possible) ?? 'decide it at data';
      this.#loader.source.report(place, {
        code: 'verdict-not-there',
        found: `${verdict} at ${stage}`,
        expected,
        suggestion,
      });
    }
  }
}

const always: Condition = { kind: 'always' };

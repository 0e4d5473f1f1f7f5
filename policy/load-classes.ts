import type { Condition } from './condition.ts';
import type { Loader } from './loader.ts';
import type { Entry, Place } from './source.ts';
import { type NamedClass, noClass } from './view.ts';

/** A class with the place that later checks point at. */
export interface PlacedClass extends NamedClass {
  readonly keyPlace: Place;
}

// More than a person can order; it bounds the work of one decision together with the length of an expression.
const maxClasses = 100;

/** The `classes:` section, in order. A class whose condition cannot be read is reported and never fits. */
export function loadClasses(loader: Loader, place: Place): readonly PlacedClass[] {
  const entries = loader.source.entries(place);
  if (entries.length > maxClasses) {
    const found = `${entries.length} classes`;
    loader.source.report(place, { code: 'too-many', found, expected: `at most ${maxClasses}` });
  }
  return entries.slice(0, maxClasses).map((entry) => {
    checkName(loader, entry);
    const when = loader.condition(entry.value);
    if (when?.reading.readsClass) {
      const expected = 'facts; classes are found before rules are read';
      loader.source.report(entry.value, { code: 'class-in-class', found: 'class', expected });
    }
    const readable = when !== undefined && !when.reading.readsClass;
    return { name: entry.key, when: readable ? when.value : never, keyPlace: entry.keyPlace };
  });
}

function checkName(loader: Loader, { key, keyPlace }: Entry): void {
  if (key === noClass || key === 'unknown') {
    const suggestion = `${key} is implied`;
    loader.source.report(keyPlace, { code: 'reserved', found: key, expected: 'another name', suggestion });
  } else if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(key)) {
    loader.source.report(keyPlace, { code: 'name', found: key, expected: 'small letters, digits, - and _' });
  }
}

const never: Condition = { kind: 'not', part: { kind: 'always' } };

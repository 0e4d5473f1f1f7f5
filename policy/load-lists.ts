import { NameList } from './name-list.ts';
import { type Place, type Source, shown } from './source.ts';

// Names are looked up, not searched, so these bound memory and the size of the file only.
const maxLists = 100;
const maxEntries = 10_000;
const maxEntryLength = 320; // RFC 5321 §4.5.3.1: the longest address

/** The `lists:` section: named lists of addresses, domains, networks or other words. */
export function loadLists(source: Source, place: Place): Readonly<Record<string, NameList>> {
  const lists: Record<string, NameList> = {};
  const entries = source.entries(place);
  if (entries.length > maxLists) {
    source.report(place, { code: 'too-many', found: `${entries.length} lists`, expected: `at most ${maxLists}` });
  }
  for (const { key, keyPlace, value } of entries.slice(0, maxLists)) {
    // `lists.blocked-senders` would read as a subtraction.
    if (!/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(key)) {
      const suggestion = key.replaceAll('-', '_');
      source.report(keyPlace, {
        code: 'name',
        found: key,
        expected: 'letters, digits and _',
        suggestion: `call it ${suggestion}`,
      });
    } else lists[key] = new NameList(entriesOf(source, value));
  }
  return lists;
}

function entriesOf(source: Source, place: Place): readonly string[] {
  return source.items(place, maxEntries).flatMap((item) => {
    const text = source.text(item, 'a name, an address or a network');
    if (text === undefined) return [];
    if (text.length > 0 && text.length <= maxEntryLength && !/\s/.test(text)) return [text];
    source.report(item, {
      code: 'list-entry',
      found: shown(text),
      expected: `one word of at most ${maxEntryLength} characters`,
    });
    return [];
  });
}

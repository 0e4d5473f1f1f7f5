import { type Document, isScalar, isSeq, parseDocument, type YAMLSeq } from 'yaml';

/** The two lists of the ready-made policies for recipients. */
export type PeopleList = 'friends' | 'blocked';

export type WithPerson =
  | { readonly kind: 'written'; readonly text: string }
  | { readonly kind: 'there-already' }
  /** The file has no such list, so that no rule of it would heed an entry. */
  | { readonly kind: 'no-list' };

const other = { friends: 'blocked', blocked: 'friends' } as const;

/** A recipient's policy with one more entry in a list of people, and without it in the other. The rest stays, comments included. */
export function withPerson(text: string, list: PeopleList, who: string): WithPerson {
  const document = parseDocument(text);
  const entries = listOf(document, list);
  if (entries === undefined) return { kind: 'no-list' };
  const opposite = listOf(document, other[list]);
  const isHim = (item: unknown): boolean => isScalar(item) && String(item.value).toLowerCase() === who.toLowerCase();
  const wasOpposite = opposite?.items.some(isHim) ?? false;
  if (entries.items.some(isHim) && !wasOpposite) return { kind: 'there-already' };
  if (opposite !== undefined) opposite.items = opposite.items.filter((item) => !isHim(item));
  if (!entries.items.some(isHim)) entries.add(document.createNode(who));
  return { kind: 'written', text: document.toString({ lineWidth: 0, flowCollectionPadding: false }) };
}

function listOf(document: Document.Parsed, name: PeopleList): YAMLSeq | undefined {
  const found = document.getIn(['lists', name]);
  return isSeq(found) ? found : undefined;
}

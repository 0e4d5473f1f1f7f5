import type { Folder } from '../mail/folder.ts';
import { decodeOutline, encodeOutline, type Outline } from './imap/message/outline.ts';
import { searchTexts } from './imap/message/search-texts.ts';

type Keeping = Pick<Folder, 'summary' | 'keepSummary' | 'hasTexts' | 'keepTexts'>;

/** Keeps what lists and searches need of a message, where it is not kept already. */
export function keepOutline(folder: Keeping, uid: number, outline: Outline): void {
  if (decodeOutline(folder.summary(uid)) === undefined) folder.keepSummary(uid, encodeOutline(outline));
  if (!folder.hasTexts(uid)) folder.keepTexts(uid, searchTexts(outline.header));
}

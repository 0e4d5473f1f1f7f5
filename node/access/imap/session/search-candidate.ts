import { MailFault } from '../../../mail/fault.ts';
import { keepOutline } from '../../kept-outline.ts';
import { decodeWords, readableTexts } from '../message/decoded-text.ts';
import { decodeOutline, outlineOf } from '../message/outline.ts';
import { folded, headerTexts, searchTexts, sentDay } from '../message/search-texts.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import type { FolderView, Numbered } from './view.ts';

/** One message under test; read once, and only when a key needs it. */
export class Candidate {
  readonly message: Numbered;
  readonly #view: FolderView;
  #loaded: { bytes: Buffer; top: Part } | undefined;
  #header: Buffer | undefined;

  constructor(view: FolderView, message: Numbered) {
    this.#view = view;
    this.message = message;
  }

  /** The day that the Date field names; at once where the folder keeps the header. */
  sent(): number | undefined | Promise<number | undefined> {
    const kept = this.#kept();
    return kept === undefined ? this.#read().then(sentDay) : sentDay(kept);
  }

  /** `wanted` is folded. At once where the folder keeps the header. */
  hasHeader(field: string, wanted: string): boolean | Promise<boolean> {
    // RFC 3501 §6.4.4: the empty string asks whether the field is there at all.
    const shown = (header: Buffer): boolean => headerTexts(header, field).some((value) => value.includes(wanted));
    const kept = this.#kept();
    return kept === undefined ? this.#read().then(shown) : shown(kept);
  }

  async hasText(wanted: string, headerToo: boolean): Promise<boolean> {
    const loaded = await this.#load();
    if (loaded === undefined) return false;
    const { bytes, top } = loaded;
    if (headerToo && folded(decodeWords(bytes.toString('latin1', top.header.start, top.header.end))).includes(wanted))
      return true;
    for (const text of readableTexts(bytes, top)) if (folded(text).includes(wanted)) return true;
    return false;
  }

  /** The header of a message of which nothing is kept; then it is. */
  async #read(): Promise<Buffer> {
    const loaded = await this.#load();
    if (loaded === undefined) return Buffer.alloc(0);
    const { bytes, top } = loaded;
    const { uid, size } = this.message.entry;
    // What stands in for a message that is lost has another size, and is not remembered.
    if (bytes.length === size) keepOutline(this.#view.folder, uid, outlineOf(bytes, top));
    return bytes.subarray(top.header.start, top.header.end);
  }

  /** The header, from what the folder keeps of the message. */
  #kept(): Buffer | undefined {
    if (this.#header !== undefined) return this.#header;
    const { folder } = this.#view;
    const { uid } = this.message.entry;
    this.#header = decodeOutline(folder.summary(uid))?.header;
    // Whoever comes here did not find its texts: the next search does.
    if (this.#header !== undefined && !folder.hasTexts(uid)) folder.keepTexts(uid, searchTexts(this.#header));
    return this.#header;
  }

  async #load(): Promise<{ bytes: Buffer; top: Part } | undefined> {
    if (this.#loaded !== undefined) return this.#loaded;
    try {
      const bytes = Buffer.from(await this.#view.folder.bytes(this.message.entry.uid));
      this.#loaded = { bytes, top: parseStructure(bytes) };
    } catch (fault) {
      // Gone meanwhile: it matches nothing.
      if (!(fault instanceof MailFault) || fault.code !== 'no-such-message') throw fault;
    }
    return this.#loaded;
  }
}

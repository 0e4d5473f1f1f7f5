import { MailFault } from '../../../mail/fault.ts';
import { fieldValue, readFields } from '../../header/fields.ts';
import { decodeWords, readableTexts } from '../message/decoded-text.ts';
import { decodeOutline, encodeOutline, outlineOf } from '../message/outline.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import type { FolderView, Numbered } from './view.ts';

/** Case means nothing (RFC 3501 §6.4.4), in any script. */
export function folded(text: string): string {
  return text.normalize('NFC').toLowerCase();
}

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

  /** The day that the Date field names, in its own zone; undefined when there is none. */
  async sent(): Promise<number | undefined> {
    const value = (await this.#values('date'))[0];
    const match = value === undefined ? null : /(\d{1,2})\s+([A-Za-z]{3})[a-z]*\s+(\d{4})/.exec(value);
    if (match === null) return undefined;
    const day = Date.parse(`${match[1]} ${match[2]} ${match[3]} 00:00:00 GMT`);
    return Number.isNaN(day) ? undefined : day;
  }

  /** At once where the folder keeps the header. */
  hasHeader(field: string, wanted: string): boolean | Promise<boolean> {
    // RFC 3501 §6.4.4: the empty string asks whether the field is there at all.
    const shown = (values: readonly string[]): boolean =>
      values.some((value) => folded(decodeWords(value)).includes(wanted));
    const kept = this.#kept();
    return kept === undefined ? this.#values(field).then(shown) : shown(valuesOf(kept, field));
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

  async #values(field: string): Promise<string[]> {
    const kept = this.#kept();
    if (kept !== undefined) return valuesOf(kept, field);
    const loaded = await this.#load();
    if (loaded === undefined) return [];
    const { bytes, top } = loaded;
    const { uid, size } = this.message.entry;
    const { folder } = this.#view;
    // What stands in for a message that is lost has another size, and is not remembered.
    if (bytes.length === size && folder.summary(uid) === undefined)
      folder.keepSummary(uid, encodeOutline(outlineOf(bytes, top)));
    return valuesOf(bytes.subarray(top.header.start, top.header.end), field);
  }

  /** The header, from what the folder keeps of the message. */
  #kept(): Buffer | undefined {
    this.#header ??= decodeOutline(this.#view.folder.summary(this.message.entry.uid))?.header;
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

function valuesOf(header: Buffer, name: string): string[] {
  return readFields(header, { start: 0, end: header.length }, name)
    .filter((field) => field.name === name)
    .map((field) => fieldValue(header, field));
}

import type { MessageEntry } from '../../../mail/folder.ts';
import type { FetchItem } from '../command/fetch-items.ts';
import { type Outline, outlineOf } from '../message/outline.ts';
import { previewText } from '../message/preview.ts';
import { headerFields, type Section, sectionBytes } from '../message/section.ts';
import { type Part, parseStructure } from '../message/structure.ts';
import { formatDateTime } from '../wire/date-time.ts';
import { latin1Of, string } from '../wire/output.ts';

/** A message in memory, or its header where no more is needed; its structure is looked at only when something needs it. */
export class Loaded {
  readonly message: Buffer;
  #outline: Outline | undefined;
  #top: Part | undefined;

  /** With `outline`, `message` need only be the header. */
  constructor(message: Buffer, outline: Outline | undefined) {
    this.message = message;
    this.#outline = outline;
  }

  get outline(): Outline {
    this.#outline ??= outlineOf(this.message, this.top);
    return this.#outline;
  }

  get top(): Part {
    this.#top ??= parseStructure(this.message);
    return this.#top;
  }

  sectionOf(section: Section): Buffer | undefined {
    const { path, text } = section;
    if (path.length === 0) {
      if (text.kind === 'all') return this.message;
      if (text.kind === 'header' && this.#outline !== undefined) return this.#outline.header;
      if (text.kind === 'fields' && this.#outline !== undefined) return headerFields(this.#outline.header, text);
    }
    return sectionBytes(this.message, this.top, section);
  }
}

/** What an item is said about; `loaded` is there for those that need it. */
export interface Shown {
  readonly entry: MessageEntry;
  readonly loaded: Loaded | undefined;
}

/** Shown by a few words, not by octets of the message. */
export type TextItem = Exclude<FetchItem, { kind: 'section' | 'binary' | 'binary-size' }>;

/** How FETCH says this item (RFC 3501 §7.4.2), as a function of the message. */
export function itemText({ kind }: TextItem): (shown: Shown) => string {
  switch (kind) {
    case 'flags':
      return flagsText();
    case 'uid':
      return ({ entry }) => `UID ${entry.uid}`;
    case 'internaldate':
      return ({ entry }) => `INTERNALDATE "${formatDateTime(entry.internalDate)}"`;
    case 'size':
      return ({ entry }) => `RFC822.SIZE ${entry.size}`;
    case 'modseq':
      return ({ entry }) => `MODSEQ (${entry.modseq})`;
    case 'emailid':
      return ({ entry }) => `EMAILID (${entry.emailId})`;
    case 'threadid':
      // RFC 8474 §5.2: no threads are kept.
      return () => 'THREADID NIL';
    case 'preview':
      return ({ loaded }) => `PREVIEW ${string(latin1Of(previewText(loaded!.message, loaded!.top)))}`;
    case 'envelope':
      return ({ loaded }) => `ENVELOPE ${loaded!.outline.envelope}`;
    case 'body':
      return ({ loaded }) => `BODY ${loaded!.outline.body}`;
    default:
      return ({ loaded }) => `BODYSTRUCTURE ${loaded!.outline.bodyStructure}`;
  }
}

/** Messages with the same flags share one list of them, and most have the same as the one before. */
function flagsText(): (shown: Shown) => string {
  let last: readonly string[] | undefined;
  let text = '';
  return ({ entry: { flags } }) => {
    if (flags !== last) {
      last = flags;
      text = `FLAGS (${flags.join(' ')})`;
    }
    return text;
  };
}

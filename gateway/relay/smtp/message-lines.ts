/** A message as DATA carries it (RFC 5321 §4.5.2), and as BDAT does. Pure. */

const CR = 13;
const LF = 10;
const DOT = 46;

/**
 * The octets for DATA, in pieces of about `pieceBytes` of the message: a dot before each line that begins with one, and nothing but CRLF as line end, whatever
 * came: a bare CR or LF that one server passes and the next takes for a line end is how a second message is smuggled. Ends with CRLF.CRLF, which comes with the
 * last piece: most messages are one piece, and so one write.
 */
export function* dataPieces(message: Uint8Array, pieceBytes: number): Generator<Buffer> {
  let before = LF;
  let last: Buffer | undefined;
  for (const piece of strictPieces(message, pieceBytes)) {
    if (last !== undefined) yield last;
    last = stuffed(piece, before === LF);
    before = piece.at(-1) ?? before;
  }
  const end = Buffer.from(before === LF ? '.\r\n' : '\r\n.\r\n');
  yield last === undefined ? end : Buffer.concat([last, end]);
}

/** The same without dots, for BDAT (RFC 3030 §2): the message ends with a line end, as it would after DATA. */
export function* chunkPieces(message: Uint8Array, pieceBytes: number): Generator<Buffer> {
  let last = LF;
  for (const piece of strictPieces(message, pieceBytes)) {
    yield piece;
    last = piece.at(-1) ?? last;
  }
  if (last !== LF) yield Buffer.from('\r\n');
}

/** Pieces that never end between CR and LF; every CR is followed by LF and every LF comes after CR. */
function* strictPieces(message: Uint8Array, pieceBytes: number): Generator<Buffer> {
  for (let at = 0; at < message.length; ) {
    let end = Math.min(message.length, at + pieceBytes);
    if (message[end - 1] === CR && message[end] === LF) end += 1;
    yield strict(Buffer.from(message.buffer, message.byteOffset + at, end - at));
    at = end;
  }
}

function strict(piece: Buffer): Buffer {
  if (!hasBareEnd(piece)) return piece;
  const out = Buffer.alloc(piece.length * 2);
  let length = 0;
  for (let i = 0; i < piece.length; i += 1) {
    const byte = piece[i]!;
    if (byte !== CR && byte !== LF) {
      out[length++] = byte;
      continue;
    }
    if (byte === CR && piece[i + 1] === LF) i += 1;
    out[length++] = CR;
    out[length++] = LF;
  }
  return out.subarray(0, length);
}

function hasBareEnd(piece: Buffer): boolean {
  for (let at = piece.indexOf(LF); at >= 0; at = piece.indexOf(LF, at + 1)) if (piece[at - 1] !== CR) return true;
  for (let at = piece.indexOf(CR); at >= 0; at = piece.indexOf(CR, at + 1)) if (piece[at + 1] !== LF) return true;
  return false;
}

function stuffed(piece: Buffer, atLineStart: boolean): Buffer {
  const dots: number[] = [];
  if (atLineStart && piece[0] === DOT) dots.push(0);
  for (let at = piece.indexOf('\n.'); at >= 0; at = piece.indexOf('\n.', at + 2)) dots.push(at + 1);
  if (dots.length === 0) return piece;
  const out = Buffer.allocUnsafe(piece.length + dots.length);
  let from = 0;
  let to = 0;
  for (const dot of dots) {
    to += piece.copy(out, to, from, dot);
    out[to++] = DOT;
    from = dot;
  }
  piece.copy(out, to, from);
  return out;
}

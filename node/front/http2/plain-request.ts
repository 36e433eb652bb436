/**
 * A field list as the description of a request that request-head.ts gives for HTTP/1.1, if it is one whose response may
 * be ready: GET or HEAD without a body, each field that matters once. It must be stricter than request-fields.ts, which
 * judges all others. Pure.
 */
import { areBytesOf, type RequestHead } from "../request-head.ts";
import { meaning, plainValue } from "./field-meaning.ts";
import type { FieldList } from "./hpack-decoder.ts";

/** The parts of longer requests are not ready: a head of HTTP/1.1 may not be longer either. */
export const plainBytesMax = 8192;

const [GET, HEAD, trailers] = ["GET", "HEAD", "trailers"].map((text) => Buffer.from(text)) as [Buffer, Buffer, Buffer];
const hostIndex = 0;
const [slash, at, hash] = [0x2f, 0x40, 0x23];

const allPseudo = (1 << meaning.method) | (1 << meaning.scheme) | (1 << meaning.authority) | (1 << meaning.path);

/**
 * @param text gets the parts that `head` describes; it has `plainBytesMax` bytes
 * @param head written if the result is true
 * @returns whether it is such a request
 */
export function readPlainRequest(list: FieldList, text: Buffer, head: RequestHead): boolean {
  const { count, values, places, meanings } = list;
  if (list.sizeBytes > plainBytesMax) return false;
  head.ends.fill(0);
  let seen = 0;
  let end = 0;
  for (let field = 0; field < count; field += 1) {
    const flagged = meanings[field] as number;
    if (flagged === (meaning.ordinary | plainValue)) {
      if ((seen & allPseudo) !== allPseudo) return false; // a pseudo-header field would follow, or is missing
      continue;
    }
    const means = flagged & ~plainValue;
    if (flagged === means || means === meaning.other) return false;
    const value = values[field] as Buffer;
    const from = places[field * 4 + 2] as number;
    const to = places[field * 4 + 3] as number;
    if ((seen & (1 << means)) !== 0 || from === to) return false;
    seen |= 1 << means;
    if (means === meaning.te) {
      if (!isText(value, from, to, trailers)) return false;
      continue;
    }
    if (means >= meaning.noted) {
      if ((seen & allPseudo) !== allPseudo) return false;
      head.starts[means - meaning.noted] = end;
      end = append(value, from, to, text, end);
      head.ends[means - meaning.noted] = end;
      continue;
    }
    if (means === meaning.method) {
      head.isHead = isText(value, from, to, HEAD);
      if (!head.isHead && !isText(value, from, to, GET)) return false;
    } else if (means === meaning.path) {
      if (value[from] !== slash || !areBytesOf("target", value, from, to)) return false;
      head.targetStart = end;
      end = append(value, from, to, text, end);
      head.targetEnd = end;
    } else if (means === meaning.authority) {
      if (!isPlainAuthority(value, from, to)) return false;
      head.starts[hostIndex] = end;
      end = append(value, from, to, text, end);
      head.ends[hostIndex] = end;
    }
  }
  head.lengthBytes = end;
  head.isPlain = true;
  return (seen & allPseudo) === allPseudo;
}

function isText(bytes: Buffer, start: number, end: number, text: Buffer): boolean {
  if (end - start !== text.length) return false;
  for (let index = 0; index < text.length; index += 1) if (bytes[start + index] !== text[index]) return false;
  return true;
}

/** Visible ASCII, without the deprecated user information. */
function isPlainAuthority(bytes: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    const byte = bytes[index] as number;
    if (byte <= 0x20 || byte >= 0x7f || byte === at || byte === hash) return false;
  }
  return true;
}

function append(bytes: Buffer, start: number, end: number, text: Buffer, to: number): number {
  if (end - start > 48) return to + bytes.copy(text, to, start, end);
  let position = to;
  for (let index = start; index < end; index += 1, position += 1) text[position] = bytes[index] as number;
  return position;
}

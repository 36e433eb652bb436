/**
 * Domain names as text (RFC 1035 §5.1), in the one normal form of zone.ts: whole, with the final dot,
 * escaped where they must be and nowhere else. Letters keep their case.
 *
 *   www          + origin cdn.test.  →  www.cdn.test.
 *   a\.b         + origin cdn.test.  →  a\.b.cdn.test.        two octets of one label with a dot between them
 *   \119ww.x.                        →  www.x.
 */
import { quote } from "./zone-file/words.ts";

const labelOctetsMax = 63;
/** With the length octets and the final zero (RFC 1035 §2.3.4). */
const nameOctetsMax = 255;

/** Octets that stand for themselves: printable, and without a meaning in zone files. */
const isPlain = Array.from(
  { length: 128 },
  (_, char) => char > 0x20 && char < 0x7f && !'"$().;@\\'.includes(charOf(char)),
);

function charOf(char: number): string {
  return String.fromCharCode(char);
}

/**
 * The name that `written` is, made whole with `origin`.
 * @param origin in normal form
 * @returns undefined when it is none; whyNoName() then has the reason
 */
export function nameFrom(written: string, origin: string): string | undefined {
  if (written === "@") return origin;
  if (written === ".") return ".";
  let labelOctets = 0;
  for (let at = 0; at < written.length; at++) {
    const char = written.charCodeAt(at);
    if (char === 0x2e) {
      if (labelOctets === 0 || labelOctets > labelOctetsMax) return undefined;
      labelOctets = 0;
    } else if (isPlain[char] === true) labelOctets += 1;
    else return escapedNameFrom(written, origin);
  }
  if (labelOctets > labelOctetsMax) return undefined;
  const name = labelOctets === 0 ? written : whole(written, origin);
  return written !== "" && octetsOfName(name) <= nameOctetsMax ? name : undefined;
}

function whole(relative: string, origin: string): string {
  return origin === "." ? `${relative}.` : `${relative}.${origin}`;
}

function escapedNameFrom(written: string, origin: string): string | undefined {
  const end = putLabels(written, scratch);
  if (end < 0) return undefined;
  const labels = labelsAt(scratch, end);
  const isWhole = labels.length > 1 && labels.at(-1)?.length === 0;
  if (isWhole) labels.pop();
  const name = labels.map(labelText).join(".");
  const made = isWhole ? `${name}.` : whole(name, origin);
  return octetsOfName(made) <= nameOctetsMax ? made : undefined;
}

function labelsAt(octets: Uint8Array, end: number): Uint8Array[] {
  const labels: Uint8Array[] = [];
  for (let at = 0; at < end; at += 1 + (octets[at] ?? 0))
    labels.push(octets.subarray(at + 1, at + 1 + (octets[at] ?? 0)));
  return labels;
}

/** Why a text is no name: what putLabels() returns instead of a length. */
const noEscape = -1;
const longLabel = -2;
const emptyLabel = -3;
const longName = -4;

/** Takes the labels of any name; as long as putLabels() wants it. */
export const labelOctetsBufferSize = nameOctetsMax + 4;
const scratch = new Uint8Array(labelOctetsBufferSize);

/**
 * Writes the labels that `written` stands for as they are on the wire, each after its length, in the case in which
 * they are written. A name with a final dot is whole: it ends with the root's empty label.
 * @param into at least `labelOctetsBufferSize` octets
 * @returns how many octets were written; below 0: the text is no name
 */
export function putLabels(written: string, into: Uint8Array): number {
  let start = 0;
  let at = 1;
  for (let i = 0; i < written.length; i++) {
    const char = written.charCodeAt(i);
    if (char === 0x2e) {
      const size = at - start - 1;
      if (size === 0) return emptyLabel;
      if (size > labelOctetsMax) return longLabel;
      into[start] = size;
      start = at;
      at += 1;
      if (i + 1 < written.length) continue;
      into[start] = 0;
      return at > nameOctetsMax ? longName : at;
    }
    if (char < 0x80 && char !== 0x5c) into[at++] = char;
    else if (char === 0x5c) {
      const escaped = escapeAt(written, i + 1);
      if (escaped === undefined) return noEscape;
      i += escaped.length;
      for (const octet of escaped.octets) into[at++] = octet;
    } else {
      const text = String.fromCodePoint(written.codePointAt(i) ?? 0);
      i += text.length - 1;
      for (const octet of Buffer.from(text, "utf8")) into[at++] = octet;
    }
    if (at > nameOctetsMax) return at - start - 1 > labelOctetsMax ? longLabel : longName;
  }
  const size = at - start - 1;
  if (size === 0) return emptyLabel;
  if (size > labelOctetsMax) return longLabel;
  into[start] = size;
  return at;
}

/**
 * What the backslash before `at` stands for: an octet as three digits, or the character after it.
 * @returns undefined where neither is there; `length`: how many characters of the text that is
 */
function escapeAt(text: string, at: number): { octets: Uint8Array; length: number } | undefined {
  const char = text.charCodeAt(at);
  if (Number.isNaN(char)) return undefined;
  if (!isDigit(char)) {
    const escaped = String.fromCodePoint(text.codePointAt(at) ?? 0);
    return { octets: Buffer.from(escaped, "utf8"), length: escaped.length };
  }
  const digits = text.slice(at, at + 3);
  return /^\d{3}$/.test(digits) && Number(digits) <= 255 ? { octets: Buffer.of(Number(digits)), length: 3 } : undefined;
}

/** The whole name on the wire (RFC 1035 §3.1), never compressed. @param name in normal form */
export function nameToWire(name: string): Uint8Array {
  if (name === ".") return Uint8Array.of(0);
  return scratch.slice(0, Math.max(0, putLabels(name, scratch)));
}

/** One label of the normal form. */
export function labelText(label: Uint8Array): string {
  let text = "";
  for (const octet of label) {
    if (isPlain[octet] === true) text += charOf(octet);
    else if (octet > 0x20 && octet < 0x7f) text += `\\${charOf(octet)}`;
    else text += `\\${String(octet).padStart(3, "0")}`;
  }
  return text;
}

/** Octets on the wire of a name in normal form. */
function octetsOfName(name: string): number {
  if (name === ".") return 1;
  if (!name.includes("\\")) return name.length + 1;
  let octets = 1;
  for (let at = 0; at < name.length; at++) {
    if (name.charCodeAt(at) === 0x5c) at += isDigit(name.charCodeAt(at + 1)) ? 3 : 1;
    octets += 1;
  }
  return octets;
}

/** Why nameFrom() made nothing of `written`. */
export function whyNoName(written: string): string {
  const shown = quote(written);
  if (written === "") return "a name is empty: write @ for the origin";
  switch (putLabels(written, scratch)) {
    case noEscape:
      return `${shown} has a backslash without a character or a number of 0-255 after it`;
    case longLabel:
      return `${shown} has a label of more than ${labelOctetsMax} octets`;
    case emptyLabel:
      return `${shown} has an empty label`;
    default:
      return `${shown}, made whole, has more than ${nameOctetsMax} octets`;
  }
}

/**
 * The octets that `written` stands for: UTF-8, `\X` for the character X itself, `\DDD` for an octet.
 * @returns undefined where a backslash has neither after it
 */
export function octetsOf(written: string): Buffer | undefined {
  let next = written.indexOf("\\");
  if (next < 0) return Buffer.from(written, "utf8");
  const parts: Uint8Array[] = [];
  let start = 0;
  while (next >= 0) {
    if (next > start) parts.push(Buffer.from(written.slice(start, next), "utf8"));
    const escaped = escapeAt(written, next + 1);
    if (escaped === undefined) return undefined;
    parts.push(escaped.octets);
    start = next + 1 + escaped.length;
    next = written.indexOf("\\", start);
  }
  if (start < written.length) parts.push(Buffer.from(written.slice(start), "utf8"));
  return Buffer.concat(parts);
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

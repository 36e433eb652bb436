/**
 * Domain names as text (RFC 1035 §5.1), in the normal form that zone.ts defines: absolute, with the final dot,
 * escaped only where necessary. Letters keep their case.
 *
 *   www          + origin cdn.test.  →  www.cdn.test.
 *   a\.b         + origin cdn.test.  →  a\.b.cdn.test.        two octets of one label with a dot between them
 *   \119ww.x.                        →  www.x.
 */
import { quote } from "./zone-file/words.ts";

const labelOctetsMax = 63;
/** Includes the length octets and the final zero (RFC 1035 §2.3.4). */
const nameOctetsMax = 255;

/** Octets that need no escape: printable, and not special in zone files. */
const isPlain = Array.from(
  { length: 128 },
  (_, char) => char > 0x20 && char < 0x7f && !'"$().;@\\'.includes(charOf(char)),
);

function charOf(char: number): string {
  return String.fromCharCode(char);
}

/**
 * Makes `written` absolute: a relative name gets `origin` appended.
 * @param origin in normal form
 * @returns undefined when `written` is not a name; whyNoName() then has the reason
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

/** What putLabels() returns instead of a length when the text is not a name. */
const noEscape = -1;
const longLabel = -2;
const emptyLabel = -3;
const longName = -4;

/** The size that putLabels() needs: any name, and the longest escape past its end. */
export const labelOctetsBufferSize = nameOctetsMax + 4;
const scratch = new Uint8Array(labelOctetsBufferSize);

/**
 * Writes the labels of `written` in wire format, each after its length, and keeps their case. A name with a final dot
 * is absolute and ends with the root's empty label.
 * @param into at least `labelOctetsBufferSize` octets
 * @returns how many octets were written; below 0 when the text is not a name
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
 * Reads the escape whose backslash stands before `at`: three digits for an octet, or one character.
 * @returns undefined when neither follows; `length` is the number of characters read
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

/** An absolute name in wire format (RFC 1035 §3.1), never compressed. @param name in normal form */
export function nameToWire(name: string): Uint8Array {
  if (name === ".") return Uint8Array.of(0);
  return scratch.slice(0, Math.max(0, putLabels(name, scratch)));
}

/** One label as text in normal form. */
export function labelText(label: Uint8Array): string {
  let text = "";
  for (const octet of label) {
    if (isPlain[octet] === true) text += charOf(octet);
    else if (octet > 0x20 && octet < 0x7f) text += `\\${charOf(octet)}`;
    else text += `\\${String(octet).padStart(3, "0")}`;
  }
  return text;
}

/** Length in octets, in wire format, of a name in normal form. */
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

/** Why nameFrom() rejected `written`. */
export function whyNoName(written: string): string {
  const shown = quote(written);
  if (written === "") return "a name must not be empty: write @ for the origin";
  switch (putLabels(written, scratch)) {
    case noEscape:
      return `${shown} has an invalid escape: a backslash must be followed by a character or by three digits up to 255`;
    case longLabel:
      return `${shown} has a label longer than ${labelOctetsMax} octets`;
    case emptyLabel:
      return `${shown} has an empty label`;
    default:
      return `${shown}, with the origin, is longer than ${nameOctetsMax} octets`;
  }
}

/**
 * Decodes `written` to octets: UTF-8, `\X` for the character X itself, `\DDD` for an octet.
 * @returns undefined at an invalid escape
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

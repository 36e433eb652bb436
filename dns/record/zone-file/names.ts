/**
 * Domain names as text (RFC 1035 §5.1), in the one normal form of node/document/document.ts: whole, with the final dot,
 * escaped where they must be and nowhere else. Letters keep their case.
 *
 *   www          + origin cdn.test.  →  www.cdn.test.
 *   a\.b         + origin cdn.test.  →  a\.b.cdn.test.        two octets of one label with a dot between them
 *   \119ww.x.                        →  www.x.
 */
import { quote } from "./words.ts";

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
  const labels = labelsOf(written);
  if (labels === undefined) return undefined;
  const isWhole = labels.length > 1 && labels.at(-1)?.length === 0;
  if (isWhole) labels.pop();
  if (labels.some((label) => label.length === 0 || label.length > labelOctetsMax)) return undefined;
  const name = labels.map(labelText).join(".");
  const made = isWhole ? `${name}.` : whole(name, origin);
  return octetsOfName(made) <= nameOctetsMax ? made : undefined;
}

/** The labels' octets; the last one is empty where the text ends with a dot. Undefined where an escape is none. */
function labelsOf(written: string): Buffer[] | undefined {
  const labels: Buffer[] = [];
  let start = 0;
  for (let at = 0; at <= written.length; at++) {
    const char = at === written.length ? 0x2e : written.charCodeAt(at);
    if (char === 0x5c) at += 1;
    else if (char === 0x2e) {
      const label = octetsOf(written.slice(start, at));
      if (label === undefined) return undefined;
      labels.push(label);
      start = at + 1;
    }
  }
  return start > written.length ? labels : undefined;
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
export function octetsOfName(name: string): number {
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
  const labels = labelsOf(written);
  const shown = quote(written);
  if (labels === undefined) return `${shown} has a backslash without a character or a number of 0-255 after it`;
  if (labels.some((label) => label.length > labelOctetsMax)) {
    return `${shown} has a label of more than ${labelOctetsMax} octets`;
  }
  if (labels.slice(0, -1).some((label) => label.length === 0)) return `${shown} has an empty label`;
  if (written === "") return "a name is empty: write @ for the origin";
  return `${shown}, made whole, has more than ${nameOctetsMax} octets`;
}

/**
 * The octets that `written` stands for: UTF-8, `\X` for the character X itself, `\DDD` for an octet.
 * @returns undefined where a backslash has neither after it
 */
export function octetsOf(written: string): Buffer | undefined {
  let next = written.indexOf("\\");
  if (next < 0) return Buffer.from(written, "utf8");
  const parts: Buffer[] = [];
  let start = 0;
  while (next >= 0) {
    if (next > start) parts.push(Buffer.from(written.slice(start, next), "utf8"));
    const char = written.charCodeAt(next + 1);
    if (Number.isNaN(char)) return undefined;
    if (isDigit(char)) {
      const digits = written.slice(next + 1, next + 4);
      if (!/^\d{3}$/.test(digits) || Number(digits) > 255) return undefined;
      parts.push(Buffer.of(Number(digits)));
      start = next + 4;
    } else {
      const escaped = String.fromCodePoint(written.codePointAt(next + 1) ?? 0);
      parts.push(Buffer.from(escaped, "utf8"));
      start = next + 1 + escaped.length;
    }
    next = written.indexOf("\\", start);
  }
  if (start < written.length) parts.push(Buffer.from(written.slice(start), "utf8"));
  return Buffer.concat(parts);
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

/** Whether `name` is `ancestor` or lies below it; both in one form: with or without the final dot, lower case. */
export function isAtOrBelow(name: string, ancestor: string): boolean {
  if (ancestor === "." || name === ancestor) return true;
  if (!name.endsWith(ancestor)) return false;
  const dot = name.length - ancestor.length - 1;
  return name.charCodeAt(dot) === 0x2e && !isEscaped(name, dot);
}

/** The name above, or undefined at the last label. Same form as isAtOrBelow(). */
export function nameAbove(name: string): string | undefined {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (!isEscaped(name, dot)) return name.slice(dot + 1);
  }
  return undefined;
}

/** An odd number of backslashes stands before it. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (first > 0 && text.charCodeAt(first - 1) === 0x5c) first -= 1;
  return (at - first) % 2 === 1;
}

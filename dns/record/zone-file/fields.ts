/**
 * The fields of one entry, read from left to right. The first field that can't be read leaves its problem here;
 * what is read after it has no meaning, and nobody looks at it.
 */
import { nameFrom, octetsOf, whyNoName } from "../name-text.ts";
import { type Octets, rdataOctetsMax } from "../rdata-writer.ts";
import { fieldFlags, type Scanner } from "./scan.ts";
import { quote } from "./words.ts";

/** A character-string (RFC 1035 §3.3.14) has one octet for its length. */
export const characterStringOctetsMax = 255;
/** RFC 2181 §8. */
const ttlMax = 2_147_483_647;

export interface Fields {
  readonly scanner: Scanner;
  /** Index of the next field. */
  next: number;
  /** Put behind relative names. */
  origin: string;
  /** Of the entry, or empty. */
  problem: string;
  /** The field that it is about. */
  problemField: number;
}

export function newFields(scanner: Scanner, origin: string): Fields {
  return { scanner, next: 0, origin, problem: "", problemField: 0 };
}

export function restart(fields: Fields): void {
  fields.next = 0;
  fields.problem = "";
}

/** @param field by default the one that was taken last */
export function refuse(fields: Fields, problem: string, field = fields.next - 1): void {
  if (fields.problem !== "") return;
  fields.problem = problem;
  fields.problemField = Math.max(0, Math.min(field, fields.scanner.fieldsCount - 1));
}

export function hasMore(fields: Fields): boolean {
  return fields.next < fields.scanner.fieldsCount;
}

/** As it is written, escapes and all, but without quotes. */
export function rawField(fields: Fields, index: number): string {
  const { scanner } = fields;
  return scanner.text.slice(scanner.starts[index], scanner.ends[index]);
}

export function hasFlag(fields: Fields, index: number, flag: number): boolean {
  return ((fields.scanner.flags[index] ?? 0) & flag) !== 0;
}

/**
 * The next field as it is written.
 * @param what with its article, such as "a port"
 */
export function takeWord(fields: Fields, what: string): string {
  if (!hasMore(fields)) {
    refuse(fields, `${what} is missing`);
    return "";
  }
  return rawField(fields, fields.next++);
}

export function takeNumber(fields: Fields, what: string, max: number): number {
  const word = takeWord(fields, what);
  const number = /^\d{1,10}$/.test(word) ? Number(word) : Number.NaN;
  if (number <= max) return number;
  refuse(fields, `${quote(word)} is not ${what} (0-${max})`);
  return 0;
}

/** Seconds, or a time with units such as `1h30m`. */
export function takeTime(fields: Fields, what: string): number {
  const word = takeWord(fields, what);
  const seconds = secondsFrom(word);
  if (seconds >= 0) return seconds;
  refuse(fields, `${quote(word)} is not ${what} (0-${ttlMax} seconds, or with units as 1w2d3h4m5s)`);
  return 0;
}

const unitSeconds = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86_400],
  ["w", 604_800],
]);

/** @returns -1 when it is no time or too long */
function secondsFrom(word: string): number {
  if (/^\d{1,10}$/.test(word)) return Number(word) <= ttlMax ? Number(word) : -1;
  if (!/^(?:\d{1,10}[smhdw]){1,5}$/i.test(word)) return -1;
  let seconds = 0;
  for (const [, count, unit = ""] of word.toLowerCase().matchAll(/(\d+)([smhdw])/g)) {
    seconds += Number(count) * (unitSeconds.get(unit) ?? 0);
  }
  return seconds <= ttlMax ? seconds : -1;
}

/** A whole name in normal form. */
export function takeName(fields: Fields, what: string): string {
  const word = takeWord(fields, what);
  if (fields.problem !== "") return ".";
  const name = nameFrom(word, fields.origin);
  if (name !== undefined && !hasFlag(fields, fields.next - 1, fieldFlags.quoted)) return name;
  refuse(fields, name === undefined ? whyNoName(word) : `${quote(word)} is in quotes where ${what} is wanted`);
  return ".";
}

/** The octets that the next field stands for. */
export function takeOctets(fields: Fields, what: string, octetsMax: number): Octets {
  const word = takeWord(fields, what);
  const octets = textOrOctets(word, hasFlag(fields, fields.next - 1, fieldFlags.escaped));
  if (octets === undefined) {
    refuse(fields, `${quote(word)} has a backslash without a character or a number of 0-255 after it`);
    return "";
  }
  // A character has at most three octets in UTF-8 for each of its UTF-16 units.
  if (octets.length * 3 > octetsMax && Buffer.byteLength(octets) > octetsMax) {
    refuse(fields, `${quote(word)} has ${Buffer.byteLength(octets)} octets, above ${octetsMax}`);
  }
  return octets;
}

/** Character-strings up to the end of the entry, at least one. */
export function takeStrings(fields: Fields): Octets[] {
  const strings = [takeOctets(fields, "a text", characterStringOctetsMax)];
  let octets = 0;
  while (hasMore(fields)) strings.push(takeOctets(fields, "a text", characterStringOctetsMax));
  for (const string of strings) octets += 1 + Buffer.byteLength(string);
  if (octets > rdataOctetsMax) {
    refuse(fields, `the texts have ${octets} octets with their lengths, above ${rdataOctetsMax}`);
  }
  return strings;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOrOctets(word: string, isEscaped: boolean): Octets | undefined {
  if (!isEscaped) return word;
  const octets = octetsOf(word);
  return octets && textIfUtf8(octets);
}

export function textIfUtf8(octets: Buffer): Octets {
  try {
    return utf8.decode(octets);
  } catch {
    return octets;
  }
}

/** All that is left, for data that may be broken into several fields. */
function takeRest(fields: Fields, what: string): string {
  if (!hasMore(fields)) refuse(fields, `${what} is missing`);
  let rest = "";
  while (hasMore(fields)) rest += rawField(fields, fields.next++);
  return rest;
}

export function takeHex(fields: Fields, what: string): string {
  const first = fields.next;
  const hex = takeRest(fields, what);
  if (/^(?:[0-9A-Fa-f]{2})*$/.test(hex)) return hex;
  refuse(fields, `${what}: ${quote(hex)} is not hexadecimal with two digits for each octet`, first);
  return "";
}

/** Hexadecimal digits that stand at the end of rdata with some octets before them. */
export function takeDigest(fields: Fields): string {
  const hex = takeHex(fields, "the data");
  if (hex.length > 2 * rdataOctetsMax - 8) refuse(fields, `the data has more than ${rdataOctetsMax} octets`);
  return hex;
}

export function takeBase64(fields: Fields, what: string): Buffer {
  const first = fields.next;
  const octets = octetsFromBase64(takeRest(fields, what));
  if (octets !== undefined) return octets;
  refuse(fields, `${what}: ${quote(rawField(fields, first))} is not base64`, first);
  return Buffer.alloc(0);
}

export function octetsFromBase64(text: string): Buffer | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

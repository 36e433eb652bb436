/**
 * Reads the fields of one entry from left to right. The first field that can't be read sets `problem`. Everything read
 * after that is meaningless, and callers discard it.
 */
import { nameFrom, octetsOf, whyNoName } from "../name-text.ts";
import { type Octets, rdataOctetsMax } from "../rdata-writer.ts";
import { fieldFlags, type Scanner } from "./scan.ts";
import { quote } from "./words.ts";

/** The length of a character-string is one octet (RFC 1035 §3.3.14). */
export const characterStringOctetsMax = 255;
/** RFC 2181 §8. */
const ttlMax = 2_147_483_647;

export interface Fields {
  readonly scanner: Scanner;
  /** Index of the next field. */
  next: number;
  /** Appended to relative names. */
  origin: string;
  /** The entry's problem, or empty. */
  problem: string;
  /** Index of the field that has the problem. */
  problemField: number;
}

export function newFields(scanner: Scanner, origin: string): Fields {
  return { scanner, next: 0, origin, problem: "", problemField: 0 };
}

export function restart(fields: Fields): void {
  fields.next = 0;
  fields.problem = "";
}

/** @param field by default the one that was read last */
export function refuse(fields: Fields, problem: string, field = fields.next - 1): void {
  if (fields.problem !== "") return;
  fields.problem = problem;
  fields.problemField = Math.max(0, Math.min(field, fields.scanner.fieldsCount - 1));
}

export function hasMore(fields: Fields): boolean {
  return fields.next < fields.scanner.fieldsCount;
}

/** The field as written, with its escapes but without quotes. */
export function rawField(fields: Fields, index: number): string {
  const { scanner } = fields;
  return scanner.text.slice(scanner.starts[index], scanner.ends[index]);
}

export function hasFlag(fields: Fields, index: number, flag: number): boolean {
  return ((fields.scanner.flags[index] ?? 0) & flag) !== 0;
}

/**
 * Reads the next field as written.
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
  refuse(fields, `${what} must be a whole number from 0 to ${max} (got ${quote(word)})`);
  return 0;
}

/** Reads seconds, or a time with units such as `1h30m`. */
export function takeTime(fields: Fields, what: string): number {
  const word = takeWord(fields, what);
  const seconds = secondsFrom(word);
  if (seconds >= 0) return seconds;
  refuse(fields, `${what} must be 0-${ttlMax} seconds, or a time such as 1w2d3h4m5s (got ${quote(word)})`);
  return 0;
}

const unitSeconds = new Map([
  ["s", 1],
  ["m", 60],
  ["h", 3600],
  ["d", 86_400],
  ["w", 604_800],
]);

/** @returns -1 when it is not a time, or too long */
function secondsFrom(word: string): number {
  if (/^\d{1,10}$/.test(word)) return Number(word) <= ttlMax ? Number(word) : -1;
  if (!/^(?:\d{1,10}[smhdw]){1,5}$/i.test(word)) return -1;
  let seconds = 0;
  for (const [, count, unit = ""] of word.toLowerCase().matchAll(/(\d+)([smhdw])/g)) {
    seconds += Number(count) * (unitSeconds.get(unit) ?? 0);
  }
  return seconds <= ttlMax ? seconds : -1;
}

/** Reads a name. @returns an absolute name in normal form */
export function takeName(fields: Fields, what: string): string {
  const word = takeWord(fields, what);
  if (fields.problem !== "") return ".";
  const name = nameFrom(word, fields.origin);
  if (name !== undefined && !hasFlag(fields, fields.next - 1, fieldFlags.quoted)) return name;
  refuse(fields, name === undefined ? whyNoName(word) : `${what} must not be in quotes (got ${quote(word)})`);
  return ".";
}

/** Decodes the next field to octets. */
export function takeOctets(fields: Fields, what: string, octetsMax: number): Octets {
  const word = takeWord(fields, what);
  const octets = textOrOctets(word, hasFlag(fields, fields.next - 1, fieldFlags.escaped));
  if (octets === undefined) {
    refuse(
      fields,
      `${quote(word)} has an invalid escape: a backslash must be followed by a character or by three digits up to 255`,
    );
    return "";
  }
  // UTF-8 needs at most three octets per UTF-16 code unit.
  if (octets.length * 3 > octetsMax && Buffer.byteLength(octets) > octetsMax) {
    refuse(
      fields,
      `${what} must not be longer than ${octetsMax} octets (got ${Buffer.byteLength(octets)}: ${quote(word)})`,
    );
  }
  return octets;
}

/** Reads character-strings up to the end of the entry, at least one. */
export function takeStrings(fields: Fields): Octets[] {
  const strings = [takeOctets(fields, "a string", characterStringOctetsMax)];
  let octets = 0;
  while (hasMore(fields)) strings.push(takeOctets(fields, "a string", characterStringOctetsMax));
  for (const string of strings) octets += 1 + Buffer.byteLength(string);
  if (octets > rdataOctetsMax) {
    refuse(fields, `the strings must not be longer than ${rdataOctetsMax} octets with their lengths (got ${octets})`);
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

/** Joins all remaining fields, for data that may be split into several. */
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
  refuse(fields, `${what} must be hexadecimal, two digits per octet (got ${quote(hex)})`, first);
  return "";
}

/** Reads hexadecimal digits that end the rdata, after a few fixed octets. */
export function takeDigest(fields: Fields): string {
  const hex = takeHex(fields, "the data");
  if (hex.length > 2 * rdataOctetsMax - 8) refuse(fields, `the data must not be longer than ${rdataOctetsMax} octets`);
  return hex;
}

export function takeBase64(fields: Fields, what: string): Buffer {
  const first = fields.next;
  const octets = octetsFromBase64(takeRest(fields, what));
  if (octets !== undefined) return octets;
  refuse(fields, `${what} must be base64 (got ${quote(rawField(fields, first))})`, first);
  return Buffer.alloc(0);
}

export function octetsFromBase64(text: string): Buffer | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, "base64");
}

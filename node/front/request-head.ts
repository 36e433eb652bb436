/**
 * Reads the head of a request in a strict subset of HTTP/1.1 (RFC 9112). Pure, in one pass, without allocation.
 *
 *   GET|HEAD SP /target SP HTTP/1.1 CRLF  (name ":" OWS value OWS CRLF)*  CRLF
 *
 * There are three outcomes:
 *
 *   whole     a request without a body, whose last byte is known; `isPlain` says whether the front may answer it
 *   partial   the beginning of such a request
 *   odd       anything else: other methods, versions and targets, bodies, upgrades, folded or malformed lines, bare CR
 *             or LF, a missing or second Host field, and heads above the limits
 *
 * Odd bytes are never interpreted here: Node's parser alone decides where such a request ends, so two parsers can't
 * disagree about that.
 */

/** A longer head is odd. Browsers send 0.5 to 2 KB. */
export const headBytesMax = 8192;
const fieldsMax = 64;

/** Fields whose position is recorded, in lower case. */
const noted = [
  "host",
  "accept",
  "accept-encoding",
  "accept-language",
  "user-agent",
  "range",
  "if-range",
  "if-none-match",
  "if-modified-since",
  "if-match",
  "if-unmodified-since",
] as const;
export type NotedField = (typeof noted)[number];
/** Where a noted field is in `starts` and `ends`. */
export const fieldIndex = Object.fromEntries(noted.map((name, index) => [name, index])) as Record<NotedField, number>;
export const notedFields: readonly NotedField[] = noted;

/** Requests with these fields go to the application, which has rules about them. */
const notPlain = ["authorization", "cdn-loop"] as const;
/** Fields that come with a body, an upgrade or an interim response. */
const odd = ["content-length", "transfer-encoding", "te", "trailer", "expect", "upgrade", "http2-settings"] as const;

/** A request with one of these is relayed. */
export const relayedFields: readonly string[] = [...notPlain, ...odd];

/** The positions of the parts of a head. One record serves all requests of a front. */
export interface RequestHead {
  /** Length of the head, including the empty line. */
  lengthBytes: number;
  isHead: boolean;
  isPlain: boolean;
  /** Whether the request came over TLS; set by whoever owns the connection. */
  isSecure: boolean;
  targetStart: number;
  targetEnd: number;
  /** Start and end of each noted field, by its index; end 0: the field is absent. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
}

export type HeadOutcome = "whole" | "partial" | "odd";

export function newRequestHead(): RequestHead {
  const starts = new Int32Array(noted.length);
  const ends = new Int32Array(noted.length);
  return { lengthBytes: 0, isHead: false, isPlain: false, isSecure: false, targetStart: 0, targetEnd: 0, starts, ends };
}

/** The value of a noted field, or undefined. */
export function fieldIn(bytes: Buffer, head: RequestHead, name: NotedField): string | undefined {
  const index = fieldIndex[name];
  const end = head.ends[index] ?? 0;
  return end === 0 ? undefined : bytes.toString("latin1", head.starts[index], end);
}

/** All noted fields that are present. */
export function fieldsIn(bytes: Buffer, head: RequestHead): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [index, name] of noted.entries()) {
    const end = head.ends[index] ?? 0;
    if (end !== 0) fields[name] = bytes.toString("latin1", head.starts[index], end);
  }
  return fields;
}

/** Whether the response may be a part, a 304 or a 412: then fieldsIn() returns the fields that decide. */
export function isConditional({ ends }: RequestHead): boolean {
  for (let index = firstConditional; index < noted.length; index += 1) if (ends[index] !== 0) return true;
  return false;
}

const firstConditional = noted.indexOf("range");

const [CR, LF, SP, TAB, COLON] = [13, 10, 32, 9, 58];
const isTokenByte = byteSet("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
const isTargetByte = byteSet(String.fromCharCode(...Array.from({ length: 94 }, (_, index) => 33 + index))); // 0x21–0x7e
isTargetByte[0x23] = 0; // #
/** Tab, visible ASCII, and obs-text (RFC 9110 §5.5). */
const isValueByte = new Uint8Array(256).map((_, byte) => Number(byte === TAB || (byte >= 32 && byte !== 127)));

/** Whether a target or the value of a field consists of characters that the front reads. */
export function isMadeOf(kind: "target" | "value", text: string): boolean {
  const set = kind === "target" ? isTargetByte : isValueByte;
  for (let index = 0; index < text.length; index += 1) if (set[text.charCodeAt(index)] !== 1) return false;
  return true;
}

const byteSets = { target: isTargetByte, value: isValueByte, "lower-case name": lowerCaseSet() } as const;

/** The same for bytes. A name is one of HTTP/2, without letters in upper case (RFC 9113 §8.2.1). */
export function areBytesOf(kind: keyof typeof byteSets, bytes: Buffer, start: number, end: number): boolean {
  const set = byteSets[kind];
  for (let at = start; at < end; at += 1) if (set[bytes[at] as number] !== 1) return false;
  return true;
}

function lowerCaseSet(): Uint8Array {
  return isTokenByte.map((isToken, byte) => (byte >= 0x41 && byte <= 0x5a ? 0 : isToken));
}

function byteSet(characters: string): Uint8Array {
  const set = new Uint8Array(256);
  for (const character of characters) set[character.charCodeAt(0)] = 1;
  return set;
}

const methodGet = Buffer.from("GET /");
const methodHead = Buffer.from("HEAD /");
const version = Buffer.from(" HTTP/1.1\r\n");

type Meaning = {
  readonly name: Buffer;
  readonly does: "note" | "not-plain" | "odd" | "connection";
  readonly at: number;
};
/** The names that matter here, by length. Few have the same length, so they are compared one by one. */
const meaningsByLength: readonly (readonly Meaning[])[] = (() => {
  const table: Meaning[][] = Array.from({ length: 20 }, () => []);
  const add = (name: string, does: Meaning["does"], at: number): void => {
    table[name.length]?.push({ name: Buffer.from(name), does, at });
  };
  for (const [index, name] of noted.entries()) add(name, "note", index);
  for (const name of notPlain) add(name, "not-plain", 0);
  for (const name of odd) add(name, "odd", 0);
  add("connection", "connection", 0);
  return table;
})();

const connectionValues = { keepAlive: Buffer.from("keep-alive"), close: Buffer.from("close") };

/**
 * Reads the head that begins at `start`.
 * @param end of the bytes that have arrived
 * @param head written when the outcome is "whole"; its content is undefined otherwise
 */
export function readRequestHead(bytes: Buffer, start: number, end: number, head: RequestHead): HeadOutcome {
  const target = readMethod(bytes, start, end, head);
  if (target < 0) return outcomeOf(target, start, end);
  const fields = readTarget(bytes, target, end, head);
  if (fields < 0) return outcomeOf(fields, start, end);
  head.isPlain = true;
  head.ends.fill(0);
  let at = fields;
  for (let count = 0; count <= fieldsMax; count += 1) {
    if (at === end || (bytes[at] === CR && at + 1 === end)) return outcomeOf(partial, start, end);
    if (bytes[at] === CR) {
      if (bytes[at + 1] !== LF || head.ends[0] === 0) return "odd"; // without Host (RFC 9112 §3.2)
      head.lengthBytes = at + 2 - start;
      return head.lengthBytes > headBytesMax ? "odd" : "whole";
    }
    at = readField(bytes, at, end, head);
    if (at < 0) return outcomeOf(at, start, end);
  }
  return "odd";
}

/** Results of the steps that are not positions. */
const [partial, isOdd] = [-1, -2];

function outcomeOf(result: number, start: number, end: number): HeadOutcome {
  return result === partial && end - start <= headBytesMax ? "partial" : "odd";
}

function readMethod(bytes: Buffer, start: number, end: number, head: RequestHead): number {
  head.isHead = bytes[start] === methodHead[0];
  const method = head.isHead ? methodHead : methodGet;
  for (let index = 0; index < method.length; index += 1) {
    if (start + index === end) return partial;
    if (bytes[start + index] !== method[index]) return isOdd;
  }
  return start + method.length - 1;
}

function readTarget(bytes: Buffer, start: number, end: number, head: RequestHead): number {
  let at = start;
  while (at < end && isTargetByte[bytes[at] as number] === 1) at += 1;
  head.targetStart = start;
  head.targetEnd = at;
  for (let index = 0; index < version.length; index += 1) {
    if (at + index === end) return partial;
    if (bytes[at + index] !== version[index]) return isOdd;
  }
  return at + version.length;
}

function readField(bytes: Buffer, start: number, end: number, head: RequestHead): number {
  let at = start;
  while (at < end && isTokenByte[bytes[at] as number] === 1) at += 1;
  if (at === end) return partial;
  const nameLength = at - start;
  if (bytes[at] !== COLON || nameLength === 0) return isOdd;
  at += 1;
  while (at < end && (bytes[at] === SP || bytes[at] === TAB)) at += 1;
  const valueStart = at;
  while (at < end && isValueByte[bytes[at] as number] === 1) at += 1;
  if (at + 1 >= end) return at < end && bytes[at] !== CR ? isOdd : partial;
  if (bytes[at] !== CR || bytes[at + 1] !== LF) return isOdd;
  let valueEnd = at;
  while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === TAB)) valueEnd -= 1;
  const meanings = meaningsByLength[nameLength];
  if (meanings !== undefined) {
    for (const meaning of meanings) {
      if (!isName(bytes, start, meaning.name)) continue;
      if (!noteField(bytes, valueStart, valueEnd, meaning, head)) return isOdd;
      break;
    }
  }
  return at + 2;
}

/** Returns false when this field makes the request odd. */
function noteField(bytes: Buffer, start: number, end: number, { does, at }: Meaning, head: RequestHead): boolean {
  switch (does) {
    case "note":
      if (head.ends[at] !== 0) {
        head.isPlain = false;
        return at !== 0; // two Host fields
      }
      if (start === end) head.isPlain = false;
      head.starts[at] = start;
      head.ends[at] = end;
      return at !== 0 || start !== end;
    case "not-plain":
      head.isPlain = false;
      return true;
    case "odd":
      return false;
    case "connection":
      if (isValue(bytes, start, end, connectionValues.keepAlive)) return true;
      head.isPlain = false;
      return isValue(bytes, start, end, connectionValues.close);
  }
}

function isValue(bytes: Buffer, start: number, end: number, value: Buffer): boolean {
  return end - start === value.length && isName(bytes, start, value);
}

/** Compares letters regardless of case. `name` has lower-case letters and hyphens, which no other byte is mapped to. */
function isName(bytes: Buffer, start: number, name: Buffer): boolean {
  for (let index = 0; index < name.length; index += 1) {
    const wanted = name[index] as number;
    const byte = bytes[start + index] as number;
    // A control byte would become a hyphen.
    if (byte !== wanted && (byte < 0x41 || (byte | 0x20) !== wanted)) return false;
  }
  return true;
}

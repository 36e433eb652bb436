/**
 * Reading a query. The reader is strict: it compares every length with the message's end before using it, and parses
 * the whole message, so that an answer never depends on bytes that were not understood.
 *
 *   header 12 │ question │ answer, authority, additional (only an OPT in the additional section is used)
 *
 * The work is linear in the message: names in records are skipped without following pointers, and a name in the
 * question has nothing before it to point at. `Query.steps` counts the work, so that a test can verify this.
 */
import { byteAt, uint16At } from "./bytes.ts";
import { clearEdns, emptyEdns, readOptFields, readOptions, type Edns } from "./edns.ts";
import { readName, scratchName, skipName, type WireName } from "./name.ts";
import { recordTypes } from "./numbers.ts";

export const headerLength = 12;
const questionFixedLength = 4;
const recordFixedLength = 10;

/** A query, as far as it could be read. One object is reused for all queries. */
export interface Query {
  /** The question's name, in lower case. Valid only if `questionEnd` shows that it was read. */
  readonly name: WireName;
  type: number;
  class: number;
  /** Offset of the end of the question, or 12 if it could not be read (then the answer does not repeat it). */
  questionEnd: number;
  readonly edns: Edns;
  /** Upper bound on the loop iterations of the parsing: octets of names, records, options. */
  steps: number;
}

/**
 *   question         it can be answered
 *   short            less than a header: no answer is possible
 *   response         QR=1: answering would let two servers talk for ever
 *   unknown-opcode   NOTIMP; nothing behind the header may be interpreted (RFC 8906 §3.1.4)
 *   malformed        FORMERR, with the question if `questionEnd` shows that it was read
 *   unknown-version  BADVERS (RFC 6891 §6.1.3); the options were not read
 *   cookie-only      no question, but a cookie: NOERROR without records, only to learn a cookie (RFC 7873 §5.4)
 */
export type QueryOutcome =
  "question" | "short" | "response" | "unknown-opcode" | "malformed" | "unknown-version" | "cookie-only";

export function emptyQuery(): Query {
  return { name: scratchName(), type: 0, class: 0, questionEnd: headerLength, edns: emptyEdns(), steps: 0 };
}

/**
 * Reads the whole of `message[0..length)` into `query`. Never reads beyond it in the array.
 * @param length at most the array's own
 */
export function readQuery(message: Uint8Array, length: number, query: Query): QueryOutcome {
  query.questionEnd = headerLength;
  query.steps = 0;
  clearEdns(query.edns);
  if (length < headerLength) return "short";
  const flags = byteAt(message, 2);
  if ((flags & 0x80) !== 0) return "response";
  if ((flags & 0x78) !== 0) return "unknown-opcode";
  const questions = uint16At(message, 4);
  if (questions !== 1) return readWithoutQuestion(message, length, questions, query);
  const at = readName(message, headerLength, length, query.name);
  if (at < 0 || at + questionFixedLength > length) {
    query.steps = length - headerLength;
    return "malformed";
  }
  query.steps = at - headerLength;
  query.type = uint16At(message, at);
  query.class = uint16At(message, at + 2);
  query.questionEnd = at + questionFixedLength;
  return readRecords(message, query.questionEnd, length, query);
}

/** RFC 9619 §4: FORMERR, with our OPT record if the query's can be found, unless the query only asks for a cookie. */
function readWithoutQuestion(message: Uint8Array, end: number, questions: number, query: Query): QueryOutcome {
  let at = headerLength;
  for (let i = 0; i < questions; i++) {
    at = skipName(message, at, end);
    if (at < 0 || at + questionFixedLength > end) {
      query.steps = end - headerLength;
      return "malformed";
    }
    at += questionFixedLength;
  }
  query.steps = at - headerLength;
  const outcome = readRecords(message, at, end, query);
  if (outcome === "unknown-version") return outcome;
  return outcome === "question" && questions === 0 && query.edns.cookie.length > 0 ? "cookie-only" : "malformed";
}

/**
 * Reads what follows the question of a plain query: nothing, or an OPT record up to the message's end.
 * @param start the end of a question that was found without readQuery()
 * @returns false if it is anything else, or malformed: then readQuery() must decide
 */
export function readPlainEnd(message: Uint8Array, start: number, end: number, query: Query): boolean {
  const { edns } = query;
  clearEdns(edns);
  query.steps = 1;
  query.questionEnd = start;
  if (byteAt(message, 11) === 0) return start === end;
  const optionsStart = start + 1 + recordFixedLength;
  if (optionsStart > end || byteAt(message, start) !== 0 || uint16At(message, start + 1) !== recordTypes.OPT)
    return false;
  if (optionsStart + uint16At(message, start + 9) !== end) return false;
  readOptFields(message, start + 3, edns);
  if (edns.version !== 0) return false;
  const options = readOptions(message, optionsStart, end, edns);
  query.steps += Math.max(0, options);
  return options >= 0;
}

/** Whether a message of at least a header is a query with one question and at most one record after it. */
export function isPlainQuery(message: Uint8Array): boolean {
  return (
    // All flags but RD are zero, and so is the opcode.
    (byteAt(message, 2) & 0xfe) === 0 &&
    uint16At(message, 4) === 1 &&
    uint16At(message, 6) === 0 &&
    uint16At(message, 8) === 0 &&
    byteAt(message, 10) === 0 &&
    byteAt(message, 11) <= 1
  );
}

/** Parses all records after the question. Each takes at least 11 octets, so large counts don't cost more. */
function readRecords(message: Uint8Array, start: number, end: number, query: Query): QueryOutcome {
  const { edns } = query;
  const additionalFrom = uint16At(message, 6) + uint16At(message, 8);
  const count = additionalFrom + uint16At(message, 10);
  let optionsStart = 0;
  let optionsEnd = 0;
  let isMalformed = false;
  let at = start;
  for (let i = 0; i < count; i++) {
    const owner = at;
    at = skipName(message, at, end);
    if (at < 0 || at + recordFixedLength > end) {
      query.steps += 1 + end - owner;
      return "malformed";
    }
    query.steps += 1 + at - owner;
    const dataLength = uint16At(message, at + 8);
    if (at + recordFixedLength + dataLength > end) return "malformed";
    if (uint16At(message, at) === recordTypes.OPT) {
      // RFC 6891 §6.1.1: one OPT, in the additional section, owned by the root.
      if (edns.isPresent || i < additionalFrom || byteAt(message, owner) !== 0) isMalformed = true;
      if (!edns.isPresent) readOptFields(message, at + 2, edns);
      optionsStart = at + recordFixedLength;
      optionsEnd = optionsStart + dataLength;
    }
    at += recordFixedLength + dataLength;
  }
  if (isMalformed || at !== end) return "malformed";
  if (!edns.isPresent) return "question";
  // Check the version before the options: another version may use a different format.
  if (edns.version !== 0) return "unknown-version";
  const options = readOptions(message, optionsStart, optionsEnd, edns);
  query.steps += options < 0 ? -1 - options : options;
  return options < 0 ? "malformed" : "question";
}

/**
 * Reading a query. Strict: every length is compared with the message's end before it is believed, and the whole
 * message is walked, so that an answer never rests on bytes that were not understood.
 *
 *   header 12 │ question │ answer, authority, additional (only an OPT in the additional section is looked at)
 *
 * The work is linear in the message: names in records are stepped over without following pointers.
 */
import { byteAt, uint16At } from "./bytes.ts";
import { clearEdns, emptyEdns, readOptFields, readOptions, type Edns } from "./edns.ts";
import { readName, scratchName, skipName, type WireName } from "./name.ts";
import { recordTypes } from "./numbers.ts";

export const headerLength = 12;

/** A query as far as it could be read; one object is filled again and again. */
export interface Query {
  /** The question's name, in lower case. */
  readonly name: WireName;
  type: number;
  class: number;
  /** Where the question ends, or 12 when it could not be read (then it is not repeated in the answer). */
  questionEnd: number;
  readonly edns: Edns;
}

/**
 *   question         it can be answered
 *   short            less than a header: nobody to answer
 *   response         QR=1: answering would let two servers talk for ever
 *   unknown-opcode   NOTIMP; nothing behind the header may be interpreted (RFC 8906 §3.1.4)
 *   malformed        FORMERR, with the question if `questionEnd` says that it was read
 *   unknown-version  BADVERS (RFC 6891 §6.1.3); the options were not read
 */
export type QueryOutcome = "question" | "short" | "response" | "unknown-opcode" | "malformed" | "unknown-version";

export function emptyQuery(): Query {
  return { name: scratchName(), type: 0, class: 0, questionEnd: headerLength, edns: emptyEdns() };
}

/** Reads the whole message into `query`. */
export function readQuery(message: Uint8Array, query: Query): QueryOutcome {
  query.questionEnd = headerLength;
  clearEdns(query.edns);
  if (message.length < headerLength) return "short";
  const flags = byteAt(message, 2);
  if ((flags & 0x80) !== 0) return "response";
  if ((flags & 0x78) !== 0) return "unknown-opcode";
  const end = message.length;
  const questions = uint16At(message, 4);
  let at: number;
  if (questions === 1) {
    at = readName(message, headerLength, end, query.name);
    if (at < 0 || at + 4 > end) return "malformed";
    query.type = uint16At(message, at);
    query.class = uint16At(message, at + 2);
    at += 4;
    query.questionEnd = at;
  } else {
    // RFC 9619 §4: FORMERR, yet with our OPT when theirs can be found.
    at = skipQuestions(message, end, questions);
    if (at < 0) return "malformed";
  }
  const outcome = readRecords(message, at, end, query.edns);
  if (outcome === "unknown-version") return outcome;
  return questions === 1 ? outcome : "malformed";
}

function skipQuestions(message: Uint8Array, end: number, count: number): number {
  let at = headerLength;
  for (let i = 0; i < count; i++) {
    at = skipName(message, at, end);
    if (at < 0 || at + 4 > end) return -1;
    at += 4;
  }
  return at;
}

/** Walks all records behind the question. They cost at least 11 octets each, so counts can't make it longer. */
function readRecords(message: Uint8Array, start: number, end: number, edns: Edns): QueryOutcome {
  const additionalFrom = uint16At(message, 6) + uint16At(message, 8);
  const count = additionalFrom + uint16At(message, 10);
  let optionsStart = 0;
  let optionsEnd = 0;
  let isMalformed = false;
  let at = start;
  for (let i = 0; i < count; i++) {
    const owner = at;
    at = skipName(message, at, end);
    if (at < 0 || at + 10 > end) return "malformed";
    const dataLength = uint16At(message, at + 8);
    if (at + 10 + dataLength > end) return "malformed";
    if (uint16At(message, at) === recordTypes.OPT) {
      // RFC 6891 §6.1.1: one OPT, in the additional section, owned by the root.
      if (edns.isPresent || i < additionalFrom || byteAt(message, owner) !== 0) isMalformed = true;
      if (!edns.isPresent) readOptFields(message, at + 2, edns);
      optionsStart = at + 10;
      optionsEnd = optionsStart + dataLength;
    }
    at += 10 + dataLength;
  }
  if (isMalformed || at !== end) return "malformed";
  // The version is judged before the options: another version may lay them out otherwise.
  if (edns.version !== 0) return "unknown-version";
  if (edns.isPresent && !readOptions(message, optionsStart, optionsEnd, edns)) {
    edns.subnet.isPresent = false;
    return "malformed";
  }
  return "question";
}

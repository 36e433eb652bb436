/**
 * A cache of encoded answers to earlier questions, valid for as long as their snapshot is in force.
 *
 *   question's octets, in lower case ──hash──▶ slot:  question │ records of its answer      (static)
 *                                                     question │ index of its steered name  (chosen per client)
 *
 * Names compare without case (RFC 4343), so queries from resolvers that vary it (0x20) hit, too. The records contain
 * pointers into the question, which stay valid because equal questions have equal lengths. A question has two possible
 * slots; if three questions share them, the later ones win.
 *
 * The table keeps only answers that depend on nothing but question and snapshot: authoritative ones with NOERROR,
 * without a steered name behind an alias. It keeps no answers for names that do not exist, since the number of such
 * names is unlimited.
 *
 * The table is a closure, unlike the rest of the responder: V8 then compiles the addresses of its arrays into the code.
 * With the arrays in a record, every access would load address and length again, which made a ready answer 8 % slower.
 */
import { byteAt, copyOctets } from "../wire/bytes.ts";
import { headerLength } from "../wire/message.ts";

const slots = 8192;
/** Longer questions and longer answers always take the full path. */
const questionLengthMax = 80;
const recordsLengthMax = 176;
/** Type and class, after the name. */
const questionFixedLength = 4;

/** 32-bit words per slot. */
const slotWords = 32;
const generationWord = 0;
const questionLengthWord = 1;
const outcomeWord = 2;
const recordsLengthWord = 3;
const answersWord = 4;
const authoritiesWord = 5;
const steeredWord = 6;
const ttlMaxWord = 7;
const typeWord = 8;
const zoneWord = 9;
const questionWords = 10;

/** What the table keeps of an answer besides its octets. One object is reused for all answers. */
export interface ReadyAnswer {
  outcome: number;
  /** Static answers: the length of the records, and the number of records per section. */
  recordsLength: number;
  answers: number;
  authorities: number;
  /**
   * Steered answers: index of the name (-1 if the answer is static), its maximum TTL, the type, the zone of the name.
   */
  steered: number;
  ttlMaxSeconds: number;
  type: number;
  zone: number;
}

export function emptyReadyAnswer(): ReadyAnswer {
  return {
    outcome: 0,
    recordsLength: 0,
    answers: 0,
    authorities: 0,
    steered: -1,
    ttlMaxSeconds: 0,
    type: 0,
    zone: 0,
  };
}

export interface ReadyTable {
  /**
   * Finds the answer to the question `message[12..end)` and reads it into `into`.
   * @param generation of the snapshot in force
   * @returns its slot, or -1
   */
  readonly find: (generation: number, message: Uint8Array, end: number, into: ReadyAnswer) => number;
  /** Copies the slot's `length` octets of records to `out[at…]`. The caller has checked that they fit. */
  readonly copy: (slot: number, length: number, out: Uint8Array, at: number) => void;
  /**
   * Keeps the answer `message[end..at)` to the question `message[12..end)`, if it is short enough. Of a steered answer
   * it keeps only the fields of `answer`. `message` holds the question as the client sent it; its name is known to be
   * well formed.
   */
  readonly keep: (generation: number, message: Uint8Array, end: number, at: number, answer: ReadyAnswer) => void;
}

/** Takes 2.5 MB per responder. */
export function createReadyTable(): ReadyTable {
  const words = new Int32Array(slots * slotWords);
  /** The records of the slots' answers. */
  const octets = new Uint8Array(slots * recordsLengthMax);
  /** The question to look for, in words of four octets. */
  const asked = new Int32Array(questionLengthMax / 4);

  function find(generation: number, message: Uint8Array, end: number, into: ReadyAnswer): number {
    let slot = readQuestion(message, end, asked);
    const length = end - headerLength;
    if (!holds(slot, generation, length)) {
      slot ^= 1;
      if (!holds(slot, generation, length)) return -1;
    }
    const base = slot * slotWords;
    const steered = words[base + steeredWord] ?? 0;
    into.steered = steered;
    if (steered >= 0) {
      into.ttlMaxSeconds = words[base + ttlMaxWord] ?? 0;
      into.type = words[base + typeWord] ?? 0;
      into.zone = words[base + zoneWord] ?? 0;
    } else {
      into.outcome = words[base + outcomeWord] ?? 0;
      into.recordsLength = words[base + recordsLengthWord] ?? 0;
      into.answers = words[base + answersWord] ?? 0;
      into.authorities = words[base + authoritiesWord] ?? 0;
    }
    return slot;
  }

  /** Whether the slot holds the answer to the question in `asked`. */
  function holds(slot: number, generation: number, length: number): boolean {
    const base = slot * slotWords;
    if (words[base + generationWord] !== generation) return false;
    if (words[base + questionLengthWord] !== length) return false;
    const count = (length + 3) >>> 2;
    for (let i = 0; i < count; i++) if (words[base + questionWords + i] !== asked[i]) return false;
    return true;
  }

  function copy(slot: number, length: number, out: Uint8Array, at: number): void {
    copyOctets(octets, slot * recordsLengthMax, out, at, length);
  }

  function keep(generation: number, message: Uint8Array, end: number, at: number, answer: ReadyAnswer): void {
    const recordsLength = answer.steered < 0 ? at - end : 0;
    const length = end - headerLength;
    if (length > questionLengthMax || recordsLength > recordsLengthMax) return;
    const first = readQuestion(message, end, asked);
    // Use the second slot while it is free. After that, new questions replace the one in the first slot.
    const isFree = words[(first ^ 1) * slotWords + generationWord] !== generation;
    const isTaken = words[first * slotWords + generationWord] === generation;
    const slot = isTaken && isFree ? first ^ 1 : first;
    const base = slot * slotWords;
    words[base + generationWord] = generation;
    words[base + questionLengthWord] = length;
    words[base + outcomeWord] = answer.outcome;
    words[base + recordsLengthWord] = recordsLength;
    words[base + answersWord] = answer.answers;
    words[base + authoritiesWord] = answer.authorities;
    words[base + steeredWord] = answer.steered;
    words[base + ttlMaxWord] = answer.ttlMaxSeconds;
    words[base + typeWord] = answer.type;
    words[base + zoneWord] = answer.zone;
    for (let i = 0; i < (length + 3) >>> 2; i++) words[base + questionWords + i] = asked[i] ?? 0;
    copyOctets(message, end, octets, slot * recordsLengthMax, recordsLength);
  }

  return { find, copy, keep };
}

/**
 * The offset at which the question of a message of `length` octets ends. -1 if its name is compressed, truncated, or
 * longer than the table keeps.
 */
export function plainQuestionEnd(message: Uint8Array, length: number): number {
  const last = Math.min(length, headerLength + questionLengthMax) - questionFixedLength;
  let at = headerLength;
  while (at < last) {
    const size = byteAt(message, at);
    at += 1 + size;
    if (size === 0) return at + questionFixedLength;
    if (size > 63) return -1;
  }
  return -1;
}

/**
 * Reads the question `message[12..end)` into `asked`, its name in lower case, and returns the slot in which it belongs.
 * Each word is multiplied by a constant of its own, so that the processor can do the multiplications in parallel.
 */
function readQuestion(message: Uint8Array, end: number, asked: Int32Array): number {
  const nameEnd = end - questionFixedLength;
  let hash = uint32At(message, nameEnd);
  let index = 0;
  asked[index++] = hash;
  let factor = 0x1e3779b1;
  for (let at = headerLength; at < nameEnd; at += 4) {
    // The last word may include octets of the type. They belong to the question, so equal questions have equal words.
    const word = lowerCase(uint32At(message, at));
    asked[index++] = word;
    hash = (hash + Math.imul(word, factor)) | 0;
    factor = (factor + 0x3c6ef372) | 0;
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) & (slots - 1);
}

function uint32At(bytes: Uint8Array, at: number): number {
  const low = byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8);
  return low | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24);
}

/**
 * Converts four octets at once: sets bit 0x20 in those from 0x41 to 0x5a and changes no other. No addition carries into
 * the next octet.
 */
function lowerCase(word: number): number {
  const low = word & 0x7f7f7f7f;
  const fromA = (low + 0x3f3f3f3f) | 0;
  const pastZ = (low + 0x25252525) | 0;
  return word | ((fromA & ~pastZ & ~word & 0x80808080) >>> 2);
}

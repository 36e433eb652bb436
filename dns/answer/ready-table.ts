/**
 * Answers to questions that have come before, ready to be copied: what look-up and encoding made of a question, kept
 * as long as the snapshot that it rests on.
 *
 *   question's octets, in lower case ──hash──▶ slot:  question │ records of its answer      (static)
 *                                                     question │ index of its steered name  (chosen per client)
 *
 * Names compare without case (RFC 4343), so resolvers that vary it (0x20) find them too. The records hold pointers into
 * the question, which stand where they stood: equal questions are equally long. A question may stand in two slots; of
 * three that share them the later ones have them. Whoever asks for what nobody asks twice costs the others a look-up.
 *
 * Only what is settled by question and snapshot alone is kept: authoritative answers with NOERROR, without a steered
 * name behind an alias, and none for names that are not there, of which there are endlessly many.
 */
import { byteAt, intAt } from "../wire/bytes.ts";
import { headerLength } from "../wire/message.ts";

const slots = 8192;
/** Longer questions, and longer answers, are looked up each time. */
const questionLengthMax = 80;
const recordsLengthMax = 176;
/** Type and class, behind the name. */
const questionFixedLength = 4;

/** Words of a slot; each is readable at `slot * readyWords + …`. */
export const readyWords = 32;
const generationWord = 0;
const questionLengthWord = 1;
export const readyOutcome = 2;
/** Static: length of the records, and how many of them stand in which section. */
export const readyRecordsLength = 3;
export const readyAnswers = 4;
export const readyAuthorities = 5;
/** Steered: index of the name, or -1 for what is static; most that its TTL may be; type; the zone it lies in. */
export const readySteered = 6;
export const readyTtlMax = 7;
export const readyType = 8;
export const readyZone = 9;
const questionWords = 10;

export interface ReadyAnswers {
  readonly words: Int32Array;
  /** The records of the slots' answers. */
  readonly octets: Uint8Array;
  /** The question that is looked for, in words of four octets. */
  readonly asked: Int32Array;
}

/** 2.5 MB, for one responder. */
export function newReadyAnswers(): ReadyAnswers {
  return {
    words: new Int32Array(slots * readyWords),
    octets: new Uint8Array(slots * recordsLengthMax),
    asked: new Int32Array(questionLengthMax / 4),
  };
}

/**
 * Where the question of a message of `length` octets ends, or -1: its name is compressed, cut, or longer than is kept.
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
 * Reads the question `message[12..end)` into `asked`, its name in lower case, and returns the slot where it would be.
 * Each word is multiplied with a number of its own place, which a processor does side by side.
 */
function slotOf(message: Uint8Array, end: number, asked: Int32Array): number {
  const nameEnd = end - questionFixedLength;
  let hash = uint32At(message, nameEnd);
  let index = 0;
  asked[index++] = hash;
  let factor = 0x1e3779b1;
  for (let at = headerLength; at < nameEnd; at += 4) {
    // The last word may hold octets of the type as well; they are part of the question, and of its equal.
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

/** Four octets at once: those from 0x41 to 0x5a get their bit 0x20, no other changes. None carries into the next. */
function lowerCase(word: number): number {
  const low = word & 0x7f7f7f7f;
  const fromA = (low + 0x3f3f3f3f) | 0;
  const pastZ = (low + 0x25252525) | 0;
  return word | ((fromA & ~pastZ & ~word & 0x80808080) >>> 2);
}

/**
 * The slot that holds the answer to the question `message[12..end)`, or -1.
 * @param generation of the snapshot in force
 */
export function findReady(ready: ReadyAnswers, generation: number, message: Uint8Array, end: number): number {
  const slot = slotOf(message, end, ready.asked);
  const length = end - headerLength;
  if (holds(ready, slot, generation, length)) return slot;
  return holds(ready, slot ^ 1, generation, length) ? slot ^ 1 : -1;
}

/** Whether the slot holds the answer to what is asked. */
function holds({ words, asked }: ReadyAnswers, slot: number, generation: number, length: number): boolean {
  const base = slot * readyWords;
  if (intAt(words, base + generationWord) !== generation) return false;
  if (intAt(words, base + questionLengthWord) !== length) return false;
  const count = (length + 3) >>> 2;
  for (let i = 0; i < count; i++) if (words[base + questionWords + i] !== asked[i]) return false;
  return true;
}

/** Copies the slot's records to `out[at…]`; there is room for `readyRecordsLength` octets. */
export function copyReady(ready: ReadyAnswers, slot: number, out: Uint8Array, at: number): void {
  const { words, octets } = ready;
  const length = intAt(words, slot * readyWords + readyRecordsLength);
  const from = slot * recordsLengthMax;
  for (let i = 0; i < length; i++) out[at + i] = byteAt(octets, from + i);
}

/** What is kept of an answer besides its octets, as the words above; one object is filled again and again. */
export interface Keeping {
  outcome: number;
  answers: number;
  authorities: number;
  steered: number;
  ttlMaxSeconds: number;
  type: number;
  zone: number;
}

/**
 * Keeps the answer `message[end..at)` to the question `message[12..end)`, if it is short enough; of a steered one just
 * the name's index. `message` holds the question as it was asked, and its name is known to be well formed.
 */
export function keepReady(
  ready: ReadyAnswers,
  generation: number,
  message: Uint8Array,
  end: number,
  at: number,
  keeping: Keeping,
): void {
  const recordsLength = keeping.steered < 0 ? at - end : 0;
  const length = end - headerLength;
  if (length > questionLengthMax || recordsLength > recordsLengthMax) return;
  const { words, octets, asked } = ready;
  const first = slotOf(message, end, asked);
  // The second one is taken while it is free; past that the two questions in the first take turns.
  const isFree = intAt(words, (first ^ 1) * readyWords + generationWord) !== generation;
  const isTaken = intAt(words, first * readyWords + generationWord) === generation;
  const slot = isTaken && isFree ? first ^ 1 : first;
  const base = slot * readyWords;
  words[base + generationWord] = generation;
  words[base + questionLengthWord] = length;
  words[base + readyOutcome] = keeping.outcome;
  words[base + readyRecordsLength] = recordsLength;
  words[base + readyAnswers] = keeping.answers;
  words[base + readyAuthorities] = keeping.authorities;
  words[base + readySteered] = keeping.steered;
  words[base + readyTtlMax] = keeping.ttlMaxSeconds;
  words[base + readyType] = keeping.type;
  words[base + readyZone] = keeping.zone;
  for (let i = 0; i < (length + 3) >>> 2; i++) words[base + questionWords + i] = intAt(asked, i);
  const from = slot * recordsLengthMax;
  for (let i = 0; i < recordsLength; i++) octets[from + i] = byteAt(message, end + i);
}

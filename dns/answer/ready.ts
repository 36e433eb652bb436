/**
 * The short way to an answer: a plain query over UDP whose question has come before is answered from the table of
 * ready answers. It is the same answer as the long way gives.
 */
import { intAt } from "../wire/bytes.ts";
import { headerLength, isPlainQuery, readPlainEnd } from "../wire/message.ts";
import { rateDrop, rateSlip } from "../guard/rate-limit.ts";
import type { Snapshot } from "../snapshot.ts";
import { begin, finish, truncate } from "./begin-finish.ts";
import { placeQuestion } from "./from-zone.ts";
import { ignoredRate, slipped } from "./outcomes.ts";
import {
  copyReady,
  findReady,
  keepReady,
  plainQuestionEnd,
  readyAnswers,
  readyAuthorities,
  readyOutcome,
  readyRecordsLength,
  readySteered,
  readyTtlMax,
  readyType,
  readyWords,
  readyZone,
} from "./ready-table.ts";
import { judgeSender } from "./sender.ts";
import type { Client, Responding } from "./state.ts";
import { answerSteered } from "./steered.ts";

/**
 * Writes the whole answer, if there is a ready one.
 * @returns the outcome, or -1: the query must go the long way
 */
export function answerReady(state: Responding, message: Uint8Array, length: number, client: Client): number {
  const { query, ready } = state;
  const now = state.snapshot();
  if (now !== state.readySnapshot) {
    state.readySnapshot = now;
    state.generation++;
  }
  if (now === undefined || length < headerLength || !state.isUdp || !isPlainQuery(message)) return -1;
  const end = plainQuestionEnd(message, length);
  if (end < 0) return -1;
  const slot = findReady(ready, state.generation, message, end);
  if (slot < 0 || !readPlainEnd(message, end, length, query)) return -1;
  state.steps += query.steps;
  const decision = judgeSender(state, client);
  if (decision === rateDrop) return ignoredRate;
  begin(state, message, length, client);
  let outcome = slipped;
  if (decision === rateSlip) state.isTruncated = true;
  else {
    state.isAuthoritative = true;
    outcome = fill(state, now, slot, client);
    if (state.isTruncated) truncate(state);
  }
  finish(state, message);
  return outcome;
}

/** Copies the slot's records into the answer, or decides where its steered name leads this client. */
function fill(state: Responding, now: Snapshot, slot: number, client: Client): number {
  const { ready, at } = state;
  const { words } = ready;
  const base = slot * readyWords;
  const steered = intAt(words, base + readySteered);
  if (steered >= 0) {
    state.query.type = intAt(words, base + readyType);
    placeQuestion(state, now.zones, intAt(words, base + readyZone));
    return answerSteered(state, now, steered, intAt(words, base + readyTtlMax), client);
  }
  const next = at + intAt(words, base + readyRecordsLength);
  if (next > state.limit) state.isTruncated = true;
  else {
    copyReady(ready, slot, state.out, at);
    state.at = next;
    state.answers = intAt(words, base + readyAnswers);
    state.authorities = intAt(words, base + readyAuthorities);
  }
  return intAt(words, base + readyOutcome);
}

/** Keeps the answer that has just been made the long way. */
export function keepAnswer(state: Responding, outcome: number): void {
  const { keeping, query } = state;
  keeping.outcome = outcome;
  keeping.answers = state.answers;
  keeping.authorities = state.authorities;
  keeping.type = query.type;
  keeping.zone = state.chain.zone;
  keepReady(state.ready, state.generation, state.out, query.questionEnd, state.at, keeping);
}

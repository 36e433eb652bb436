/**
 * The fast path: answers a plain UDP query from the table of ready answers if the same question was asked before. The
 * answer is the same as on the full path.
 */
import { headerLength, isPlainQuery, readPlainEnd } from "../wire/message.ts";
import { rateDrop, rateSlip } from "../guard/rate-limit.ts";
import type { Snapshot } from "../snapshot.ts";
import { begin, finish, truncate } from "./begin-finish.ts";
import { placeQuestion } from "./from-zone.ts";
import { ignoredRate, slipped } from "./outcomes.ts";
import { plainQuestionEnd } from "./ready-table.ts";
import { judgeSender } from "./sender.ts";
import type { Client, Responding } from "./state.ts";
import { answerSteered } from "./steered.ts";

/**
 * Writes the whole answer, if there is a ready one.
 * @returns the outcome, or -1 if the query has to take the full path
 */
export function answerReady(state: Responding, message: Uint8Array, length: number, client: Client): number {
  const { query } = state;
  const now = state.snapshot();
  if (now !== state.readySnapshot) {
    state.readySnapshot = now;
    state.generation++;
  }
  if (now === undefined || length < headerLength || !state.isUdp || !isPlainQuery(message)) return -1;
  const end = plainQuestionEnd(message, length);
  if (end < 0) return -1;
  const slot = state.ready.find(state.generation, message, end, state.readyAnswer);
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

/** Copies the slot's records into the answer, or decides which site this client gets for its steered name. */
function fill(state: Responding, now: Snapshot, slot: number, client: Client): number {
  const { readyAnswer, at } = state;
  const { steered, recordsLength } = readyAnswer;
  if (steered >= 0) {
    state.query.type = readyAnswer.type;
    placeQuestion(state, now.zones, readyAnswer.zone);
    return answerSteered(state, now, steered, readyAnswer.ttlMaxSeconds, client);
  }
  const next = at + recordsLength;
  if (next > state.limit) state.isTruncated = true;
  else {
    state.ready.copy(slot, recordsLength, state.out, at);
    state.at = next;
    state.answers = readyAnswer.answers;
    state.authorities = readyAnswer.authorities;
  }
  return readyAnswer.outcome;
}

/** Keeps the answer that the full path has just produced. */
export function keepAnswer(state: Responding, outcome: number): void {
  const { readyAnswer, query } = state;
  readyAnswer.outcome = outcome;
  readyAnswer.answers = state.answers;
  readyAnswer.authorities = state.authorities;
  readyAnswer.type = query.type;
  readyAnswer.zone = state.chain.zone;
  state.ready.keep(state.generation, state.out, query.questionEnd, state.at, readyAnswer);
}

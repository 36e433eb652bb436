/**
 * Answers a well-formed question: directly when no zone is needed, otherwise from the zone that contains the name.
 * Answers REFUSED if no zone contains the name, or if queries of this type are not answered.
 */
import { count } from "../counters.ts";
import type { Snapshot } from "../snapshot.ts";
import { headerLength } from "../wire/message.ts";
import { classes, extendedErrors, rcodes, recordTypes } from "../wire/numbers.ts";
import { startChain } from "../zone/alias-chain.ts";
import { writeChaos } from "../zone/chaos.ts";
import { fail, giveUp, truncate } from "./begin-finish.ts";
import { answerFromZone } from "./from-zone.ts";
import { formerr, noerror, notimp, refused, servfail, truncatedCounter } from "./outcomes.ts";
import { keepAnswer } from "./ready.ts";
import { advance } from "./sections.ts";
import type { Client, Responding } from "./state.ts";

/** Fills in the answer that begin() started, and stores it in the ready table for the next query with this question. */
export function answerQuestion(state: Responding, client: Client): number {
  const { query, chain } = state;
  const { type } = query;
  if (type === recordTypes.OPT || type === recordTypes.TSIG || type === recordTypes.TKEY) {
    state.rcode = rcodes.FORMERR;
    return formerr;
  }
  if (query.class === classes.CH) return answerChaos(state);
  const now = state.snapshot();
  if (now === undefined) return fail(state, rcodes.SERVFAIL, extendedErrors.NOT_READY, servfail);
  if (type === recordTypes.AXFR || type === recordTypes.IXFR) {
    return fail(state, rcodes.REFUSED, extendedErrors.PROHIBITED, refused);
  }
  if (query.class !== classes.IN) return outsideOfZones(state);
  startChain(now.zones, query.name, type, chain);
  const outcome = chain.zone < 0 ? outsideOfZones(state) : answerName(state, now, client);
  state.steps += chain.steps;
  return outcome;
}

function outsideOfZones(state: Responding): number {
  return fail(state, rcodes.REFUSED, extendedErrors.NOT_AUTHORITATIVE, refused);
}

/** Answers from the zone in which the chain starts. */
function answerName(state: Responding, now: Snapshot, client: Client): number {
  const { type } = state.query;
  if (type === recordTypes.MAILA || type === recordTypes.MAILB) {
    return fail(state, rcodes.NOTIMP, extendedErrors.NOT_SUPPORTED, notimp);
  }
  state.isSettled = true;
  state.readyAnswer.steered = -1;
  const outcome = answerFromZone(state, now, client);
  if (!state.isTruncated) {
    if (state.isSettled && state.isAuthoritative && state.rcode === rcodes.NOERROR) keepAnswer(state, outcome);
    return outcome;
  }
  if (!state.isUdp) return giveUp(state);
  truncate(state);
  return outcome;
}

/** Class CH: questions about the server itself. */
function answerChaos(state: Responding): number {
  const { name, type } = state.query;
  const next = writeChaos(state.chaos, name, type, state.out, state.at, state.limit, headerLength);
  if (next === -2) return fail(state, rcodes.REFUSED, extendedErrors.PROHIBITED, refused);
  state.isAuthoritative = true;
  advance(state, next, 1);
  if (!state.isTruncated) state.answers = 1;
  else count(state.counters, truncatedCounter);
  return noerror;
}

/**
 * Query bytes → answer bytes: the only entry point of the responder. No I/O. The same query, client and snapshot give
 * the same answer, except for the order of a site's addresses.
 *
 * A query passes through these steps, always forward. Each is a function that takes the responder's state:
 *
 *   admit ─▶ ready answer? ─▶ read ─▶ sender ─▶ begin ─▶ question ─▶ zone ─▶ node ─▶ steered ─▶ finish
 *     │                        │        │                   │         │        │
 *   silence                 silence  silence             REFUSED   referral  records
 *                           FORMERR  slip (TC=1)         SERVFAIL  NXDOMAIN  NODATA
 *                           NOTIMP                       NOTIMP    YXDOMAIN
 *                           BADVERS
 *
 * Every message with a header is answered, unless it is itself a response, comes from port 0 (RFC 8906 §3), or from a
 * rate-limited network. An answer contains only what was asked, so that it stays small: no additional records but glue,
 * and no authority section beyond what the outcome needs (RFC 1034 §4.3.2, RFC 2308 §2). If it does not fit, or would
 * amplify a forged query, it is emptied and has TC=1.
 *
 * A query allocates no memory: see answer/state.ts.
 */
import { asNearcastError } from "#base/errors.ts";
import { begin, finish, writeFailure, writeUnknownOpcode } from "./answer/begin-finish.ts";
import {
  badvers,
  failuresCounter,
  formerr,
  ignoredPort,
  ignoredRate,
  ignoredResponse,
  ignoredShort,
  notimp,
  servfail,
  slipped,
  tcpOffset,
} from "./answer/outcomes.ts";
import { answerQuestion } from "./answer/question.ts";
import { answerReady } from "./answer/ready.ts";
import { judgeSender } from "./answer/sender.ts";
import { newResponding, type Client, type Responding, type ResponderDeps } from "./answer/state.ts";
import { count } from "./counters.ts";
import { isAdmitted } from "./guard/admit.ts";
import { rateDrop, rateSlip } from "./guard/rate-limit.ts";
import { readQuery, type QueryOutcome } from "./wire/message.ts";
import { rcodes } from "./wire/numbers.ts";

/**
 * Writes the answer to `query[0..length)` into `out`; never throws.
 * @param out room for 65,535 octets over TCP, 1,232 over UDP; may be the query's own array, which is then overwritten
 * @returns the answer's length; 0: send nothing
 */
export type Respond = (query: Uint8Array, length: number, client: Client, out: Uint8Array) => number;

export interface Responder {
  readonly respond: Respond;
  /** Loop iterations that the last query took, except those that copy octets. Bounded for every query. */
  readonly steps: () => number;
}

/** Creates a responder with its own state. Each answering thread has one. */
export function createResponder(deps: ResponderDeps): Responder {
  const state = newResponding(deps);
  const { onFailure } = deps;
  return {
    respond(message, length, client, out) {
      try {
        return respond(state, message, length, client, out);
      } catch (error) {
        count(state.counters, failuresCounter);
        count(state.counters, servfail + (state.isUdp ? 0 : tcpOffset));
        onFailure(asNearcastError(error));
        writeFailure(state, message);
        return state.at;
      }
    },
    steps: () => state.steps,
  };
}

/** Answers one packet and counts its outcome. @returns as for Respond */
export function respond(
  state: Responding,
  message: Uint8Array,
  length: number,
  client: Client,
  out: Uint8Array,
): number {
  const isUdp = client.transport === "udp";
  state.isUdp = isUdp;
  state.out = out;
  state.at = 0;
  state.steps = 1;
  let outcome = ignoredPort;
  if (isAdmitted(client)) {
    outcome = answerReady(state, message, length, client);
    if (outcome < 0) outcome = answer(state, message, length, client);
  }
  count(state.counters, isUdp ? outcome : outcome + tcpOffset);
  return state.at;
}

/** The full path: reads the whole message. Leaves the answer's length in `at`; 0: send nothing. */
function answer(state: Responding, message: Uint8Array, length: number, client: Client): number {
  const { query } = state;
  const read = readQuery(message, length, query);
  state.steps += query.steps;
  if (read === "short") return ignoredShort;
  if (read === "response") return ignoredResponse;
  const decision = judgeSender(state, client);
  if (decision === rateDrop) return ignoredRate;
  // Send a slip only if the query can be repeated over TCP.
  if (decision === rateSlip && read !== "question" && read !== "cookie-only") return ignoredRate;
  if (read === "unknown-opcode") {
    writeUnknownOpcode(state, message);
    return notimp;
  }
  begin(state, message, length, client);
  const outcome = fill(state, read, decision === rateSlip, client);
  finish(state, message);
  return outcome;
}

/** Fills in the answer that begin() started. */
function fill(
  state: Responding,
  read: Exclude<QueryOutcome, "short" | "response" | "unknown-opcode">,
  isSlipped: boolean,
  client: Client,
): number {
  switch (read) {
    case "malformed":
      state.rcode = rcodes.FORMERR;
      return formerr;
    case "unknown-version":
      state.rcode = rcodes.BADVERS;
      return badvers;
    case "cookie-only":
      return slipped;
    case "question":
      // Over UDP the option has no meaning, so its form is checked over TCP only (RFC 7828 §3.3.1).
      if (!state.isUdp && state.query.edns.isKeepaliveMalformed) {
        state.rcode = rcodes.FORMERR;
        return formerr;
      }
      if (!isSlipped) return answerQuestion(state, client);
      state.isTruncated = true;
      return slipped;
  }
}

/** Checks the sender: its cookie, and the rate limit of its network. */
import { count } from "../counters.ts";
import { rateAnswer, type RateDecision } from "../guard/rate-limit.ts";
import { clientCookieLength } from "../wire/edns.ts";
import { cookiesInvalidCounter, cookiesValidCounter } from "./outcomes.ts";
import type { Client, Responding } from "./state.ts";

/**
 * Checks the cookie and sets `isProven`. Unless the client has proved its address, counts one answer to its network.
 */
export function judgeSender(state: Responding, client: Client): RateDecision {
  const { counters, reply, rateLimit } = state;
  const { edns } = state.query;
  state.isProven = false;
  reply.hasServerCookie = false;
  if (edns.cookie.length > 0) {
    const isProven = state.cookies.check(edns, client.address, Math.floor(state.nowMs() / 1000), reply);
    state.isProven = isProven;
    if (isProven) count(counters, cookiesValidCounter);
    else if (edns.cookie.length > clientCookieLength) count(counters, cookiesInvalidCounter);
  }
  // Over TCP, the handshake has proved the client's address.
  if (!state.isUdp || state.isProven || rateLimit === undefined) return rateAnswer;
  return rateLimit.decide(client.address, state.nowMs());
}

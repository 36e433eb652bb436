/**
 * Limits all queries of a command together: how many are open at once, and for how long new ones may start. The servers
 * belong to others, and a fleet may have a thousand zones.
 */
import type { Clock } from "#base/clock.ts";
import { openGate } from "#base/gate.ts";
import type { AskDns } from "./ask-dns.ts";

/** Each needs a socket; a process may have 1,024. */
const openMax = 64;

/** After this time no query starts. */
export const budgetMs = 60_000;

/** The query was not sent: its server is not at fault. */
export class OutOfTime extends Error {
  constructor() {
    super(`the check took longer than ${budgetMs / 1000} s`);
    this.name = "OutOfTime";
  }
}

export function withinBudget(ask: AskDns, clock: Clock): AskDns {
  const endMs = clock.monotonicMs() + budgetMs;
  const gate = openGate({ slots: openMax, waitingMax: () => Infinity, waitMsMax: 2 * budgetMs, clock });
  return async (server, question) =>
    await gate.pass(async () => {
      if (clock.monotonicMs() >= endMs) throw new OutOfTime();
      return await ask(server, question);
    });
}

/** What follows from the facts of a lease: the order for its thread, and the reason that people read. */
import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { firstDamping, rise, usualDamping } from "../../../node/announce/damping.ts";
import {
  firstFacts,
  type LeaseFacts,
  noReport,
  orderOf,
  reasonOf,
  stateOf,
} from "../../../node/announce/lease-state.ts";

const prefixes = ["192.0.2.0/24", "2001:db8::/32"];
const nextHops = ["198.51.100.1", "2001:db8:1::1"];
const down = firstDamping(usualDamping);
const up = rise(down, 0);
const established = { ...noReport, session: "established", families: [4, 6] } as const;

function factsWith(changes: Partial<LeaseFacts>): LeaseFacts {
  return { ...firstFacts({ prefixes, as: 64500 }, up), report: { ...established, announced: prefixes }, ...changes };
}

const reasons: [changes: Partial<LeaseFacts>, reason: string][] = [
  [{}, "announced: its own answers are correct"],
  [{ isClosed: true }, "closed: this node is stopping"],
  [
    { wanted: { prefixes: [], as: 64500 } },
    "no cloud in the fleet document lists this site, so there is nothing to announce",
  ],
  [{ wanted: { prefixes, as: undefined } }, "the fleet document has no `anycast.as`, so nothing can be announced"],
  [{ phase: "withdrawn" }, "withdrawn: drained"],
  [{ damping: down }, "announces again when its own answers have been correct for 10 s"],
  [{ damping: down, wrong: "no answer" }, "not announced: no answer"],
  [{ damping: down, wrong: "no", fellBecause: "late" }, "was withdrawn (late); not announced: no"],
  [{ report: { ...established, isStalled: true } }, "withdrawn: the main thread was blocked"],
  [{ report: noReport }, "no session with BIRD"],
  [{ report: { ...noReport, reason: "refused" } }, "no session with BIRD: refused"],
  [{ phase: "shutting-down" }, "draining: announced with GRACEFUL_SHUTDOWN"],
  [{ isKept: true, wrong: "no" }, "still announced as the last healthy site, although no"],
  [{ report: established }, "sending the announcement to BIRD"],
  [
    { report: { ...established, families: [4], announced: ["192.0.2.0/24"] } },
    "announced, except for 2001:db8::/32: BIRD has no channel for that family",
  ],
];

test("each fact has its reason, the weightiest one first", () => {
  for (const [changes, reason] of reasons) equal(reasonOf(factsWith(changes), nextHops), reason);
});

test("a missing next hop is named", () => {
  const facts = factsWith({ report: established });
  equal(reasonOf(facts, ["198.51.100.1"]).includes("`announce.nextHops` has no address of that family"), true);
});

test("prefixes are ordered while the lease is up and not withdrawn", () => {
  const wantedOf = (changes: Partial<LeaseFacts>): unknown => {
    const order = orderOf(factsWith(changes), { holdSeconds: 3, nextHops }, 7);
    return order.kind === "order" ? [order.session, order.wanted.prefixes, order.wanted.isShuttingDown] : undefined;
  };
  const session = { as: 64500, identifier: 7, holdSeconds: 3 };
  deepEqual(wantedOf({}), [session, prefixes, false]);
  deepEqual(wantedOf({ phase: "shutting-down" }), [session, prefixes, true]);
  deepEqual(wantedOf({ phase: "withdrawn" }), [session, [], false]);
  deepEqual(wantedOf({ damping: down }), [session, [], false]);
  deepEqual(wantedOf({ wanted: { prefixes: [], as: 64500 } }), [null, [], false]);
});

test("the time of a reason is when it began", () => {
  const first = stateOf(factsWith({}), nextHops, { reason: "starting", sinceMs: 1 }, 5);
  equal(first.sinceMs, 5);
  equal(stateOf(factsWith({}), nextHops, first, 9).sinceMs, 5);
});

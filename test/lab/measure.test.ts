import assert from "node:assert/strict";
import { test } from "node:test";
import { isMet, measured } from "./drill.ts";
import { lostOf, reasonsOf, tookOf, troubleSince } from "./measure.ts";
import type { Sample } from "./observer.ts";
import { tableLines } from "./report.ts";

/** One sample every 10 ms from 0 on: a word is who answered, `-` nobody. */
function samples(words: string): Sample[] {
  return words.split(" ").map((what, index) => ({
    sentMs: 10 * index,
    tookMs: what === "-" ? null : 5 + index,
    what: what === "-" ? "no answer" : what,
  }));
}

const isA = (what: string): boolean => what === "a";

test("the time to recovery goes to the last query that went wrong", () => {
  const cases = [
    { words: "a a a b b b", faultMs: 25, wanted: { recoveryMs: 0, lost: 0, asked: 3, isOver: true } },
    // Sent before the fault and lost with it: counted, but it says nothing of how long the fault lasted.
    { words: "a a - b b b", faultMs: 25, wanted: { recoveryMs: 0, lost: 1, asked: 3, isOver: true } },
    { words: "a a a - - b", faultMs: 25, wanted: { recoveryMs: 25, lost: 2, asked: 3, isOver: true } },
    // Answers of what failed are wrong, too, and one bad answer between good ones moves the end.
    { words: "a a a b a b", faultMs: 25, wanted: { recoveryMs: 25, lost: 0, asked: 3, isOver: true } },
    { words: "a a a b b -", faultMs: 25, wanted: { recoveryMs: 35, lost: 1, asked: 3, isOver: false } },
    { words: "a a a", faultMs: 25, wanted: { recoveryMs: 0, lost: 0, asked: 0, isOver: false } },
  ];
  for (const { words, faultMs, wanted } of cases) {
    assert.deepEqual(troubleSince(samples(words), faultMs, 10, isA), wanted, words);
  }
});

test("losses have their reasons, answers their times", () => {
  const seen = [...samples("a - b -"), { sentMs: 50, tookMs: null, what: "rcode 2" }];
  assert.equal(lostOf(seen), 3);
  assert.equal(reasonsOf(seen), "2 × no answer, 1 × rcode 2");
  assert.deepEqual(tookOf(seen), { medianMs: 7, mostMs: 7 });
  assert.deepEqual(tookOf([]), { medianMs: Number.NaN, mostMs: Number.NaN });
});

test("a row is met when every figure that has a target is within it", () => {
  const row = { title: "x", group: "BGP" } as const;
  const cases = [
    { given: {}, isMetThen: true },
    { given: { recoveryMs: 100, recoveryMsMax: 100 }, isMetThen: true },
    { given: { recoveryMs: 101, recoveryMsMax: 100 }, isMetThen: false },
    { given: { recoveryMs: null, recoveryMsMax: 100 }, isMetThen: false },
    { given: { lost: 7, lostMax: null }, isMetThen: true },
    { given: { lost: 1, lostMax: 0 }, isMetThen: false },
    { given: { isOver: false }, isMetThen: false },
    { given: { recoveryMs: 1000, recoveryMsMax: 100 }, ceilings: 10, isMetThen: true },
    { given: { recoveryMs: 1001, recoveryMsMax: 100 }, ceilings: 10, isMetThen: false },
    { given: { recoveryMs: null, recoveryMsMax: 100 }, ceilings: 10, isMetThen: false },
    { given: { lost: 1, lostMax: 0 }, ceilings: 10, isMetThen: false },
    { given: { lost: 20, lostMax: 2 }, ceilings: 10, isMetThen: true },
  ];
  for (const { given, ceilings = 1, isMetThen } of cases) {
    assert.equal(isMet(measured({ ...row, ...given }), ceilings), isMetThen, JSON.stringify({ given, ceilings }));
  }
});

test("the table shows each row beside its target, and what its figures are not", () => {
  const row = measured({
    title: "edge killed",
    group: "BGP",
    recoveryMs: 12.4,
    recoveryMsMax: 100,
    lost: 1,
    asked: 90,
  });
  const rows = [
    { ...row, drill: "edge-killed", isOk: true, note: "then fra2" },
    { ...row, group: "DNS only", drill: "edge-killed", isOk: false } as const,
  ];
  const report = { form: "chosen", delays: "relay", ceilings: 1, tookMs: 12_345, isOk: false, rows } as const;
  assert.ok(tableLines({ ...report, ceilings: 10 }).includes("Judged by 10 times the targets shown."));
  assert.deepEqual(tableLines(report), [
    "BGP",
    "      drill        n  recovered    most     lost  most  remark",
    "ok    edge killed  1      12 ms  100 ms  1 of 90        then fra2",
    "",
    "DNS only",
    "      drill        n  recovered    most     lost  most  remark",
    "FAIL  edge killed  1      12 ms  100 ms  1 of 90",
    "",
    "Times are detection and withdrawal in the lab; how long the internet takes to agree is not in them.",
    "TARGETS MISSED in 12.3 s, link delays by relay",
  ]);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  afterBegin,
  afterResult,
  afterAnswer,
  type Evidence,
  type Heard,
  healthOf,
  heardOf,
  hurriedOf,
  isForsaken,
  isUnreachable,
  judge,
  type Judgement,
  type Sight,
  spacingMs,
  testimonyOf,
  timeoutMs,
  unjudged,
  unseen,
  watchedId,
} from "#health/consensus.ts";
import type { NodeState, ProbeResult } from "#health/health.ts";
import { fleetWith } from "../../support/fleet.ts";

const settings = fleetWith({ probe: { failuresDown: 3 } }).probe; // 1 s, 2 successes up
const letters: Readonly<Record<string, ProbeResult>> = {
  r: { outcome: "ready" },
  d: { outcome: "draining" },
  f: { outcome: "failed", reason: "timeout" },
};

/** One attempt after another, a second apart. */
function sightAfter(results: string): Sight {
  return results.split("").reduce<Sight>((before, letter, at) => {
    const result = letters[letter];
    assert(result !== undefined);
    return afterResult(afterBegin(before), result, at * 1000, settings);
  }, unseen);
}

const evidence = (sight: Sight, witnesses: string[] = [], more: Partial<Evidence> = {}): Evidence => ({
  sight,
  testimony: { witnesses, isDraining: false },
  isToDrain: false,
  isIsolated: false,
  ...more,
});

test("what one node sees of another after each run of attempts, and judges alone", () => {
  const rows: [results: string, reach: Sight["reach"], state: NodeState][] = [
    ["", "unknown", "unknown"],
    ["r", "reached", "up"],
    ["f", "lost", "down"], // the first judgement stands before the first answer
    ["d", "reached", "draining"],
    ["rff", "reached", "up"],
    ["rfff", "lost", "down"],
    ["rffrff", "reached", "up"], // failures count only in a row
    ["fr", "lost", "down"],
    ["frr", "reached", "up"],
    ["frfr", "lost", "down"], // so do successes
    ["fdd", "reached", "draining"],
    ["frd", "reached", "draining"],
    ["rd", "reached", "draining"],
    ["dr", "reached", "up"],
    ["dff", "reached", "draining"],
    ["dfff", "lost", "down"],
    ["rffffffrr", "reached", "up"],
  ];
  for (const [results, reach, state] of rows) {
    const sight = sightAfter(results);
    assert.equal(sight.reach, reach, results);
    const before =
      results.length > 1 ? judge(unjudged, evidence(sightAfter(results.slice(0, -1))), 0, settings) : unjudged;
    assert.equal(judge(before, evidence(sight), 1000, settings).state, state, results);
  }
});

test("attempts that overlap: an answer takes back what failed, and what is under way counts against it", () => {
  let sight = sightAfter("r");
  for (let n = 0; n < 4; n++) sight = afterBegin(sight);
  const health = (of: Sight) => healthOf(judge(unjudged, evidence(of), 0, settings), of, settings).contraryCount;
  assert.equal(health(sight), 3, "the regular one is none that is missing");
  sight = afterResult(sight, { outcome: "failed", reason: "x" }, 1000, settings);
  assert.deepEqual([sight.failures, sight.reason], [1, "x"]);
  const later = afterResult(sight, { outcome: "ready" }, 1300, settings);
  assert.deepEqual([later.failures, later.begun, later.answeredMs], [0, 0, 1300]);
  assert.equal(afterResult(later, { outcome: "ready" }, 1100, settings).answeredMs, 1300, "an older one comes late");
  assert.equal(health(sightAfter("rfff")), 0);
});

test("when the next attempt begins, by what is seen", () => {
  const begun = (sight: Sight, count: number) => Array.from({ length: count }).reduce<Sight>(afterBegin, sight);
  const reached = sightAfter("r");
  const rows: [sight: Sight, usualMs: number, isHurried: boolean, ms: number][] = [
    [reached, 20, false, 1000],
    [reached, 20, true, 250],
    [begun(reached, 1), 20, false, 100],
    [begun(reached, 1), 80, false, 160], // twice as long as usual
    [begun(reached, 1), 300, false, 250],
    [begun(reached, 2), 300, false, 100],
    [begun(reached, 9), 20, true, 100],
    [sightAfter("rf"), 300, false, 100], // it failed: there is nothing to wait for
    [begun(unseen, 1), 0, false, 100],
    [sightAfter("f"), 20, true, 500],
  ];
  for (const [sight, usualMs, isHurried, ms] of rows) {
    assert.equal(spacingMs(sight, usualMs, isHurried, settings), ms, `${sight.reach} ${sight.begun} ${usualMs}`);
  }
  assert.equal(timeoutMs({ ...settings, intervalMs: 500, timeoutMs: 3000 }), 500);
});

test("a node is named as unreachable before it is lost, and before it was judged", () => {
  const sight = { ...sightAfter("r"), answeredMs: 10_000 };
  assert(!isUnreachable(sight, 11_800, settings));
  assert(isUnreachable(sight, 11_801, settings), "1.8 intervals after the beginning of the last answered attempt");
  assert(!isUnreachable({ ...sight, failures: 2 }, 10_000, settings));
  assert(isUnreachable({ ...sight, failures: 3 }, 10_000, settings));
  assert(isUnreachable(unseen, 0, settings));
  assert(isUnreachable(sightAfter("fr"), 1000, settings));
});

const own = watchedId(["a", "b", "c", "x"]);
const heard = (askedMs: number, unreachable: string[] = [], watched: string | undefined = own): Heard =>
  heardOf({ unreachable, ...(watched === undefined ? {} : { watched }), draining: ["x"] }, askedMs);

test("the names of the nodes make the id, their order does not", () => {
  assert.equal(watchedId(["x", "c", "a", "b"]), own);
  assert.match(own, /^[0-9a-f]{16}$/);
  assert.notEqual(watchedId(["a", "b", "c"]), own);
});

test("witnesses: heard of late, of the same nodes, and not naming it; nobody is its own", () => {
  const nowMs = 10_000;
  const rows: [answers: [string, Heard][], witnesses: string[]][] = [
    [[], []],
    [[["a", heard(9000)]], ["a"]],
    [[["a", heard(8900)]], ["a"]],
    [[["a", heard(8899)]], []], // 1.1 intervals
    [[["a", heard(9000, ["x"])]], []],
    [[["a", heard(9000, ["b"])]], ["a"]],
    [[["x", heard(9000)]], []],
    [[["a", heard(9000, [], watchedId(["a", "b", "c"]))]], []], // it may never have heard of x
    [[["a", heardOf({}, 9000)]], []],
    [
      [
        ["a", heard(9000, ["x"])],
        ["b", heard(9500)],
        ["c", heard(9900)],
      ],
      ["b", "c"],
    ],
  ];
  for (const [answers, witnesses] of rows) {
    const testimony = testimonyOf({ name: "x", isUnproven: false }, new Map(answers), own, nowMs, settings);
    assert.deepEqual(testimony, { witnesses, isDraining: witnesses.length > 0 });
  }
});

test("where something answers without proof, only those are witnesses who ask for proof themselves", () => {
  const answers = new Map([
    ["a", heard(9000)],
    ["b", heardOf({ watched: own, unreachable: [], asksProof: true }, 9000)],
  ]);
  const witnesses = (isUnproven: boolean) =>
    testimonyOf({ name: "x", isUnproven }, answers, own, 10_000, settings).witnesses;
  assert.deepEqual(witnesses(false), ["a", "b"]);
  assert.deepEqual(witnesses(true), ["b"]);
});

test("an answer without proof is a failed probe, and reported until the node proves itself", () => {
  const impostor: ProbeResult = { outcome: "failed", reason: "answers without proof", isUnproven: true };
  let sight = afterResult(sightAfter("r"), impostor, 0, settings);
  assert.equal(sight.reach, "reached", "one may be an accident");
  sight = afterResult(afterResult(sight, impostor, 0, settings), impostor, 0, settings);
  assert.equal(sight.reach, "lost");
  const down = judge(unjudged, evidence(sight), 0, settings);
  assert.deepEqual(healthOf(down, sight, settings), {
    state: "down",
    reason: "3 probes from here failed: answers without proof",
    isUnproven: true,
    contraryCount: 0,
  });
  for (const result of [{ outcome: "ready" }, { outcome: "failed", reason: "timeout" }] as const) {
    const after = afterResult(sight, result, 0, settings);
    assert.equal(healthOf(down, after, settings).isUnproven, undefined, result.outcome);
  }
});

test("what is lost is up while it has a witness, and down without; the reason says who and why", () => {
  const lost = sightAfter("rfff");
  const up = judge(unjudged, evidence(sightAfter("r")), 0, settings);
  const witnessed = judge(up, evidence(lost, ["fra1", "nyc1"]), 1000, settings);
  assert.deepEqual(
    [witnessed.state, witnessed.reason],
    ["up", "fra1, nyc1 reach it; 3 probes from here failed: timeout"],
  );
  assert.equal(healthOf(witnessed, lost, settings).contraryCount, 3, "it may be down at any moment");
  const down = judge(witnessed, evidence(lost), 2000, settings);
  assert.deepEqual([down.state, down.reason], ["down", "3 probes from here failed: timeout"]);
  const isolated = judge(witnessed, evidence(lost, [], { isIsolated: true }), 2000, settings);
  assert.equal(
    isolated.reason,
    "3 probes from here failed: timeout; it may be up, since no other machine can be reached from here",
  );
  const back = judge(down, evidence(lost, ["a", "b", "c", "d", "e"]), 3000, settings);
  assert.deepEqual([back.state, back.reason.split(";")[0]], ["up", "a, b, c and 2 more reach it"]);
  assert.equal(
    judge(down, evidence(sightAfter("f"), ["a"]), 3000, settings).reason.slice(0, 34),
    "a reaches it; 1 probe from here fa",
  );
  assert.equal(judge(unjudged, evidence(unseen, ["a"]), 0, settings), unjudged, "its own first look comes first");
});

test("draining: by its own word, by a witness that heard it, or by order, and only while it is well", () => {
  const up = judge(unjudged, evidence(sightAfter("r")), 0, settings);
  const lost = sightAfter("rfff");
  const said = { testimony: { witnesses: ["a"], isDraining: true } };
  assert.equal(judge(up, evidence(lost, [], said), 0, settings).state, "draining");
  assert.equal(judge(up, evidence(sightAfter("r"), [], said), 0, settings).state, "up", "it says otherwise itself");
  const ordered = judge(up, evidence(sightAfter("r"), [], { isToDrain: true }), 0, settings);
  assert.deepEqual([ordered.state, ordered.reason], ["draining", "drained by an operator or by the fleet document"]);
  assert.equal(judge(ordered, evidence(lost, [], { isToDrain: true }), 0, settings).state, "down");
  assert.equal(judge(ordered, evidence(sightAfter("r")), 0, settings).state, "up");
});

test("who falls thrice within five minutes is held down, longer each time; others are up at once", () => {
  const [well, lost] = [evidence(sightAfter("r")), evidence(sightAfter("rfff"))];
  let judgement: Judgement = judge(unjudged, well, 0, settings);
  let nowMs = 0;
  const heldMs: number[] = [];
  for (let fall = 0; fall < 8; fall++) {
    judgement = judge(judgement, lost, (nowMs += 20_000), settings);
    assert.equal(judgement.state, "down");
    const sinceMs = (nowMs += 1000);
    while ((judgement = judge(judgement, well, nowMs, settings)).state === "down") nowMs += 1000;
    heldMs.push(nowMs - sinceMs);
  }
  assert.deepEqual(heldMs, [0, 0, 5000, 10_000, 20_000, 30_000, 30_000, 30_000]);
  judgement = judge(judgement, lost, (nowMs += 300_000), settings);
  assert.equal(judge(judgement, well, nowMs, settings).state, "up", "forgotten after five minutes");
});

test("a hold-down starts over with each break; what isolation or draining takes down does not count as a fall", () => {
  const [well, lost] = [evidence(sightAfter("r")), evidence(sightAfter("rfff"))];
  const fell: Judgement = { state: "down", reason: "", wellSinceMs: undefined, falls: 3, fellMs: 0 };
  let judgement = judge(fell, well, 1000, settings);
  assert.match(judgement.reason, /^answers again after failing 3 times; /);
  judgement = judge(judgement, lost, 5000, settings);
  judgement = judge(judgement, well, 6000, settings);
  judgement = judge(judgement, well, 10_999, settings);
  assert.equal(judgement.state, "down");
  assert.equal(judge(judgement, well, 11_000, settings).state, "up");
  const up = judge(unjudged, well, 0, settings);
  assert.equal(judge(up, lost, 1000, settings).falls, 1);
  assert.equal(judge(up, { ...lost, isIsolated: true }, 1000, settings).falls, 0);
  const draining = judge(unjudged, evidence(sightAfter("d")), 0, settings);
  assert.equal(judge(draining, lost, 1000, settings).falls, 0);
});

test("of the witnesses of what is about to be lost, the three quickest are asked more often", () => {
  const usualMs: Readonly<Record<string, number>> = { a: 50, b: 20, c: 90, d: 10, e: 70, x: 1 };
  const answers = new Map(Object.keys(usualMs).map((name) => [name, heard(0, name === "d" ? ["x"] : [])]));
  answers.set("e", heard(0, [], "0000000000000000"));
  const hurried = (lost: string[]) => [...hurriedOf(lost, answers, own, (name) => usualMs[name] ?? 0)].toSorted();
  assert.deepEqual(hurried(["x"]), ["a", "b", "c"], "however old their words");
  assert.deepEqual(hurried([]), []);
  assert.deepEqual(hurried(["x", "a"]), ["a", "b", "c", "d", "x"]);
});

test("whom others' answers call unreachable for ten intervals, that node knows of itself", () => {
  const start = { reachedMs: 0, heardMs: -Infinity };
  assert(!isForsaken(start, 60_000, settings), "nobody says anything");
  const listed = afterAnswer(start, heard(9500, ["x"]), "x", own);
  assert(isForsaken(listed, 10_001, settings));
  assert(!isForsaken(listed, 9999, settings));
  assert(isForsaken(listed, 19_500, settings), "an answer that is late changes nothing");
  assert(!isForsaken(listed, 19_501, settings), "an old answer counts no more");
  const reached = afterAnswer(listed, heard(10_100), "x", own);
  assert(!isForsaken(reached, 10_200, settings));
  assert.equal(afterAnswer(start, heard(9500, ["x"], "0000000000000000"), "x", own), start, "of another fleet");
});

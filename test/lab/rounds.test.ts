import assert from "node:assert/strict";
import { test } from "node:test";
import { isMet, measured } from "./drill.ts";
import { ofRounds } from "./rounds.ts";

const round = (recoveryMs: number | null, lost: number, isOver = true) => [
  measured({
    title: "edge killed",
    group: "BGP",
    recoveryMs,
    recoveryMsMax: 100,
    lost,
    lostMax: 2,
    asked: 100,
    isOver,
    note: "then fra2",
  }),
];

test("of several rounds the median is judged, and every round is reported", () => {
  const [row] = ofRounds([round(14, 1), round(131, 4), round(18, 2)]);
  assert.ok(row);
  assert.deepEqual([row.recoveryMs, row.lost, row.asked, row.n], [18, 2, 300, 3]);
  assert.equal(row.note, "rounds: 14 ms, 1 lost, then fra2 | 131 ms, 4 lost, then fra2 | 18 ms, 2 lost, then fra2");
  assert.equal(isMet(row, 1), true);
});

test("two rounds of three that miss are a miss, and so is one that is not over", () => {
  const [slow] = ofRounds([round(14, 1), round(131, 4), round(118, 3)]);
  assert.ok(slow);
  assert.equal(isMet(slow, 1), false);
  const [never] = ofRounds([round(null, 1), round(14, 1), round(null, 1)]);
  assert.equal(never?.recoveryMs, null, "a round that never recovered counts as the worst");
  const [open] = ofRounds([round(14, 1), round(14, 1, false), round(14, 1)]);
  assert.ok(open);
  assert.equal(isMet(open, 100), false);
});

test("where nothing may be lost, a loss in any round counts", () => {
  const none = (lost: number) => [measured({ title: "look-ups", group: "DNS only", lost, lostMax: 0, asked: 10 })];
  const [row] = ofRounds([none(0), none(1), none(0)]);
  assert.ok(row);
  assert.deepEqual([row.lost, row.asked], [1, 30]);
  assert.equal(isMet(row, 100), false);
});

test("rounds with different rows are a mistake in the drill", () => {
  const other = [measured({ title: "another", group: "BGP" })];
  assert.throws(() => ofRounds([round(14, 1), other]), /a round has no row "edge killed"/);
});

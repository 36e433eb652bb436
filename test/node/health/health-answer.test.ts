import assert from "node:assert/strict";
import { test } from "node:test";
import { answerBytesMax, boundedView, namesMax, readHealthBody } from "#health/health-answer.ts";

const answerOf = (answer: unknown) => readHealthBody(JSON.stringify({ word: answer })).answer;

test("fields of an answer that are out of bounds are left out, the others are taken", () => {
  const all = {
    load: 12.5,
    bytesPerSecond: 1e6,
    loopDelayMs: 3.5,
    rendersWaiting: 2,
    keptShare: 0.8,
    processes: 4,
    unreachable: ["nyc1"],
    draining: ["tyo1"],
    watched: "0123456789abcdef",
    isIsolated: false,
    fleetVersion: 7,
    feedSeq: 99,
    release: "1.2.3-rc.1+build",
    announced: ["198.51.100.0/24", "2001:db8:a::/48"],
  };
  assert.deepEqual(answerOf(all), all);
  assert.deepEqual(answerOf({ ...all, later: true }), all);
  const rows: [key: keyof typeof all, bad: unknown[]][] = [
    ["load", [-1, 1_000_000_001, "12", null, [1], true]],
    ["bytesPerSecond", [-1, 1e16, "1"]],
    ["loopDelayMs", [-0.1, 4e6]],
    ["rendersWaiting", [-1, 1.5, 2e9]],
    ["keptShare", [0.04, 1.01, true]],
    ["processes", [0, 65, 1.5]],
    ["draining", ["tyo1", {}, ["TYO1"], [1], [["tyo1"]], Array.from({ length: namesMax + 1 }, () => "a")]],
    ["watched", ["0123456789ABCDEF", "0123", 1]],
    ["isIsolated", ["no", 0, null]],
    ["fleetVersion", [-1, 1.5, 2 ** 60]],
    ["feedSeq", [-1, "3"]],
    ["release", ["", "a b", "é", "x".repeat(65), 1]],
    ["announced", [["198.51.100.0"], ["x/24"], Array.from({ length: 33 }, () => "198.51.100.0/24"), "198.51.100.0/24"]],
  ];
  for (const [key, bad] of rows) {
    const rest: Record<string, unknown> = { ...all };
    delete rest[key];
    for (const value of bad) assert.deepEqual(answerOf({ ...all, [key]: value }), rest, `${key}: ${String(value)}`);
  }
});

test("an answer whose list of unreachable nodes is malformed says nothing of other nodes", () => {
  const long = Array.from({ length: namesMax + 1 }, (_, at) => `n${at}`);
  for (const unreachable of [undefined, null, "nyc1", {}, [""], ["a".repeat(33)], ["NYC1"], ["-a"], [1], long]) {
    assert.deepEqual(answerOf({ load: 1, unreachable, watched: "0123456789abcdef" }), { load: 1 });
  }
  const most = long.slice(1);
  assert.deepEqual(answerOf({ unreachable: most, watched: "0123456789abcdef" })?.unreachable, most);
});

test("any text can be read", () => {
  const silent = { node: undefined, state: undefined, answer: undefined };
  for (const text of ["", "{", "null", "12", "[12]", '"draining"', '{"word":null}', '{"word":3}', "\u{0}"]) {
    assert.deepEqual(readHealthBody(text), silent, text);
  }
  assert.deepEqual(readHealthBody('{"__proto__":{"state":"draining"}}').state, undefined);
  assert.deepEqual(readHealthBody('{"word":{"__proto__":{"load":3}}}').answer, {});
  assert.deepEqual(readHealthBody('{"word":[1,2]}').answer, {});
  assert.deepEqual(readHealthBody('{"node":"fra1","state":"ready"}'), {
    node: "fra1",
    state: "ready",
    answer: undefined,
  });
});

test("a view that would not fit says nothing of others; what fits, fits into an answer", () => {
  const names = (count: number, length: number) =>
    Array.from({ length: count }, (_, at) => `n${at}`.padEnd(length, "x"));
  const watched = "0123456789abcdef";
  const small = { unreachable: names(100, 32), draining: names(3, 8), watched };
  assert.equal(boundedView(small), small);
  assert.deepEqual(boundedView({ unreachable: names(namesMax + 1, 6), watched }), {});
  assert.deepEqual(boundedView({ unreachable: names(6000, 32), watched, isIsolated: true }), { isIsolated: true });
  for (const length of [6, 16, 32]) {
    for (let count = 100; count <= namesMax; count += 100) {
      const view = boundedView({ unreachable: names(count, length), watched });
      assert(JSON.stringify(view).length < answerBytesMax / 2 + 50_000, `${count} of ${length}`);
    }
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { readPurgeEvent } from "#purge/purge-event.ts";

test("what is left out has its default", () => {
  assert.deepEqual(readPurgeEvent({ reason: "put", names: ["a.jpg"] }), {
    reason: "put",
    names: ["a.jpg"],
    hosts: [],
    tags: [],
    all: false,
    soft: false,
  });
  assert.equal(readPurgeEvent({ reason: "purge", prefix: null }).prefix, null);
});

test("a key that a later origin adds does no harm", () => {
  assert.equal(readPurgeEvent({ reason: "purge", all: true, colour: "red" }).all, true);
});

test("a malformed event is refused with all its problems instead of being skipped", () => {
  for (const value of [
    null,
    [],
    "x",
    {},
    { reason: "burn" },
    { reason: "put", names: "a" },
    { reason: "put", names: [1] },
    { reason: "purge", all: "yes" },
    { reason: "purge", prefix: 3 },
  ]) {
    assert.throws(
      () => readPurgeEvent(value),
      /^Error: a purge event of the feed is malformed: /,
      JSON.stringify(value),
    );
  }
  assert.throws(() => readPurgeEvent({ reason: "burn", all: 1 }), /reason.*; all|all.*; reason/);
});

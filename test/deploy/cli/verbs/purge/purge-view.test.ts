import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { purgeLines, unheldLines } from "../../../../../deploy/cli/verbs/purge/purge-view.ts";

const none = { entries: 0, bytes: 0 };
const state = {
  seq: 7,
  isSettled: false,
  anonymous: 1,
  nodes: [
    {
      node: "fra1",
      site: "fra",
      state: "done",
      tookMs: 12,
      records: 1,
      isComplete: true,
      memory: { entries: 2, bytes: 34_000 },
      disk: { entries: 3, bytes: 4_100_000 },
    },
    { node: "fra2", site: "fra", state: "done", tookMs: 9, records: 0, isComplete: false, memory: none, disk: none },
    { node: "nyc1", site: "nyc", state: "waiting", records: 0, isComplete: true, memory: none, disk: none },
    { node: "tyo1", site: "tyo", state: "away", records: 0, isComplete: true, memory: none, disk: none },
  ],
  unheld: { names: [], hosts: [], tags: [] },
};

const rest = [
  "not reported yet: nyc1",
  "disconnected: tyo1; each applies the purge before it serves again",
  "connected edges of an older release, which purge but do not report: 1",
  "fra2 could not read all of its disk cache: it may have dropped more than it counted",
];

test("without --wait the nodes are summed, and who is missing is named", () => {
  deepEqual(purgeLines(state, false), [
    "matched on 1 of 2 nodes: 2 entries (34 kB) in memory, 3 entries (4.1 MB) on disk; 1 picture",
    ...rest,
  ]);
});

test("with --wait each node has a line with its time", () => {
  deepEqual(purgeLines(state, true), [
    "NODE  SITE  STATE    TIME   IN MEMORY          ON DISK             PICTURES",
    "fra1  fra   done     12 ms  2 entries (34 kB)  3 entries (4.1 MB)  1",
    "fra2  fra   done     9 ms   0 entries (0 B)    0 entries (0 B)     0",
    "nyc1  nyc   waiting  -      -                  -                   -",
    "tyo1  tyo   away     -      -                  -                   -",
    ...rest,
  ]);
});

test("selectors that nobody held are warned of, at most twenty by name", () => {
  deepEqual(unheldLines([{ what: 'name "a"', hint: 'did you mean "b"?' }], true), [
    'warning: no node held anything for the name "a" (did you mean "b"?)',
  ]);
  const many = Array.from({ length: 22 }, (_, at) => ({ what: `tag "${at}"`, hint: undefined }));
  deepEqual(unheldLines(many, false).slice(19), [
    'warning: no node that reported held anything for the tag "19"',
    "warning: … and for 2 more",
  ]);
});

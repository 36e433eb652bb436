import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionsFor, descriptorsForDisk } from "#base/open-files.ts";

test("of the limit on open files, clients get half, the disk a quarter, and each no more than it can use", () => {
  const rows: [openFiles: number, listeners: number, connections: number, disk: number][] = [
    [524_288, 2, 20_000, 65_536],
    [20_000, 1, 10_000, 5000],
    [20_000, 2, 5000, 5000],
    [1024, 1, 512, 256],
    [100, 4, 64, 64],
  ];
  for (const [openFiles, listeners, connections, disk] of rows) {
    assert.equal(connectionsFor(listeners, 20_000, openFiles), connections, `${openFiles}`);
    assert.equal(descriptorsForDisk(openFiles), disk, `${openFiles}`);
  }
  assert.ok(descriptorsForDisk() >= 64, "of this process");
});

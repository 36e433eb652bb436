import assert from "node:assert/strict";
import { test } from "node:test";
import { connectionsFor, descriptorsForDisk, openFilesMax } from "#base/open-files.ts";

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

test("the limit on open files is read as the system writes it, and counted up to a million", () => {
  const line = (soft: string): string =>
    `Limit           Soft Limit   Hard Limit   Units\nMax open files  ${soft}  ${soft}  files\n`;
  for (const [soft, counted] of [
    ["1024", 1024],
    ["1048576", 1_048_576],
    ["1073741816", 1_048_576], // what some container engines set
    ["unlimited", 1_048_576],
  ] as const) {
    assert.equal(openFilesMax(line(soft)), counted, soft);
  }
  assert.equal(openFilesMax(""), 256, "elsewhere");
});

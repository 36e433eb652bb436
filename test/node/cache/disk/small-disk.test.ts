/**
 * A real file system that is smaller than the tier: something else fills it, then the tier does, and it becomes
 * read-only.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { needs } from "../../../support/needs.ts";
import { temporaryDirectory } from "../../../support/temporary.ts";

test("a full disk and a read-only one: reads go on, writes are refused, and then taken again", async (t) => {
  const isAllowed = spawnSync("unshare", ["-Urm", "true"]).status === 0;
  if (!needs(t, isAllowed, "no mount namespace of our own")) return;
  const disk = join(await temporaryDirectory(t), "disk");
  await mkdir(disk);
  const program = join(import.meta.dirname, "small-disk-user.ts");
  const script = `mount -t tmpfs -o size=8m tmpfs ${disk} && exec "${process.execPath}" ${program} ${disk}`;
  const child = spawn("unshare", ["-Urm", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => lines.push(line));
  const [status] = (await once(child, "close", { signal: AbortSignal.timeout(120_000) })) as [number];
  assert.equal(status, 0, lines.join("\n"));
  assert.deepEqual(lines, [
    "full",
    "room again",
    "full of its own objects, and makes room",
    "read-only",
    "writable again",
    "after a restart",
  ]);
});

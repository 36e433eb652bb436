/** Disk tiers over real directories, for tests. */
import assert from "node:assert/strict";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { type DiskTier, openDiskTier } from "../../node/cache/disk/disk-tier.ts";
import type { CachedObject } from "../../node/cache/object.ts";

export const mebibyte = 1024 * 1024;

/** A tier of 16 MiB, unless the options say otherwise. It is closed when the test ends. */
export async function openTier(
  t: TestContext,
  directory: string,
  options: Partial<Omit<Parameters<typeof openDiskTier>[0], "directory">> = {},
): Promise<DiskTier> {
  const tier = await openDiskTier({
    bytesMax: 16 * mebibyte,
    clock: systemClock,
    log: silentLog,
    ...options,
    directory,
  });
  t.after(() => tier.close());
  return tier;
}

export function assertSame(actual: CachedObject | undefined, expected: CachedObject, what = ""): void {
  assert(actual !== undefined, what);
  assert.deepEqual(actual.facts, expected.facts, what);
  assert(actual.headerBlock.equals(expected.headerBlock) && actual.body.equals(expected.body), what);
}

/** Bytes of all files below, in blocks of 4 KiB. */
export async function bytesBelow(directory: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    // A file that goes meanwhile is no byte.
    const about = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
    bytes += Math.ceil((about?.size ?? 0) / 4096) * 4096;
  }
  return bytes;
}

/** Objects for the cache's tests. */
import { createHash } from "node:crypto";
import { type CachedObject, headerBlockOf } from "../../node/cache/object.ts";
import type { Purge } from "../../node/cache/purge.ts";

/** A key of 64 hexadecimal digits for a short name. */
export function keyFor(name: string): string {
  return createHash("sha256").update(name).digest("hex");
}

/** The body says which name and version it belongs to, over its whole length, so that a wrong byte shows. */
export function bodyFor(name: string, version: number, sizeBytes: number): Buffer {
  return Buffer.alloc(sizeBytes, `${name}/${version};`);
}

export function objectFor(
  name: string,
  options: {
    version?: number;
    sizeBytes?: number;
    tags?: readonly string[];
    feedSeq?: number;
    costMs?: number;
    notes?: object;
  } = {},
): CachedObject {
  const { version = 1, sizeBytes = 1000, tags = [`source:${name}`], feedSeq = 1, notes = {} } = options;
  return {
    key: keyFor(name),
    facts: {
      status: 200,
      tags,
      storedAtMs: 1_700_000_000_000,
      feedSeq,
      ...(options.costMs === undefined ? {} : { costMs: options.costMs }),
      notes: { ...notes, version },
    },
    headerBlock: headerBlockOf([
      ["Content-Type", "image/webp"],
      ["X-Version", String(version)],
    ]),
    body: bodyFor(name, version, sizeBytes),
  };
}

export function purgeFor(parts: Partial<Omit<Purge, "tags">> & { tags?: readonly string[] }): Purge {
  return {
    seq: parts.seq ?? 2,
    tags: new Set(parts.tags ?? []),
    tagPrefixes: parts.tagPrefixes ?? [],
    isAll: parts.isAll ?? false,
    isSoft: parts.isSoft ?? false,
  };
}

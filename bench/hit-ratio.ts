/**
 * How many requests, and how many of their bytes, does each eviction policy answer from a cache of the same size?
 * Traces are replayed through LRU, S3-FIFO and the policies of both tiers; and what does that of memory cost?
 */
import { readFile } from "node:fs/promises";
import { createGreedyDualPolicy } from "../node/cache/greedy-dual-policy.ts";
import { createLruPolicy } from "./eviction/lru.ts";
import { measurePolicyCost } from "./eviction/policy-cost.ts";
import { type HitRatios, replay, uniqueBytes } from "./eviction/replay.ts";
import { createS3FifoPolicy } from "./eviction/s3-fifo.ts";
import { type CacheBounds, cacheWithPolicy, diskCache, type SimulatedCache } from "./eviction/simulated-cache.ts";
import { drawTrace, readTrace, type Trace, zipfTrace } from "./eviction/trace.ts";
import { digits, type Report, type Table } from "./lab/figures.ts";
import type { Lab } from "./lab/lab.ts";

/** Sizes of the cache, as parts of the bytes of all objects. */
const cacheShares = [0.01, 0.05];
/** The part of the cache that one object may take, as in the memory tier. */
const objectShareMax = 1 / 8;
const objectCounts = [10_000, 100_000, 1_000_000];
const seed = 1;

type Create = (trace: Trace, bounds: CacheBounds) => SimulatedCache;
const caches: readonly { name: string; create: Create }[] = [
  { name: "LRU", create: (trace, bounds) => cacheWithPolicy(trace, createLruPolicy(), bounds) },
  { name: "S3-FIFO", create: (trace, bounds) => cacheWithPolicy(trace, createS3FifoPolicy(bounds.bytesMax), bounds) },
  { name: "nearcast, memory", create: (trace, bounds) => cacheWithPolicy(trace, createGreedyDualPolicy(), bounds) },
  { name: "nearcast, disk", create: diskCache },
];

/** Files that the command line names. */
export interface TraceFiles {
  /** A distribution of popularity and size. */
  readonly dataPath: string | undefined;
  readonly tracePaths: readonly string[];
}

/** @throws Error for a file that can't be read, or not understood */
export async function measureHitRatio(lab: Lab, { dataPath, tracePaths }: TraceFiles): Promise<Report> {
  const tables: Table[] = [];
  const samples: Record<string, unknown> = {};
  const notes = [
    "cache sizes: parts of the bytes of all objects that are requested; one object may take an eighth of the cache",
  ];
  for await (const trace of tracesOf(dataPath, tracePaths)) {
    const bytes = uniqueBytes(trace);
    lab.say(`${trace.name}: ${trace.requests.length} requests, ${Math.round(bytes / 2 ** 20)} MiB in all objects`);
    const ratios = new Map<string, readonly HitRatios[]>();
    for (const { name, create } of caches) {
      const ofCache = cacheShares.map((share) => {
        const bytesMax = bytes * share;
        return replay(trace, create(trace, { bytesMax, objectBytesMax: bytesMax * objectShareMax }));
      });
      ratios.set(name, ofCache);
    }
    const title = `Hit ratio in %, objects / bytes: ${trace.name}`;
    tables.push(tableOf(title, ratios));
    notes.push(...copyNotes(trace.name, ratios));
    samples[title] = Object.fromEntries(ratios);
  }
  const costs = objectCounts.map(measurePolicyCost);
  tables.push({
    title: "Cost of the memory tier's policy: CPU µs per operation, bytes of its own data per object",
    columns: ["objects", "insert", "use", "evict and insert", "bytes/object"],
    rows: costs.map(({ objects, insertMicros, useMicros, replaceMicros, bytesPerObject }) => [
      objects.toLocaleString("en"),
      ...[insertMicros, useMicros, replaceMicros, bytesPerObject].map(digits),
    ]),
  });
  samples["cost"] = costs;
  return {
    question: "hit-ratio",
    tables,
    notes,
    absent: [],
    samples,
  };
}

async function* tracesOf(dataPath: string | undefined, tracePaths: readonly string[]): AsyncGenerator<Trace> {
  if (dataPath !== undefined) {
    const name = dataPath.slice(dataPath.lastIndexOf("/") + 1);
    yield drawTrace(name, await readFile(dataPath, "utf8"), seed);
  }
  for (const path of tracePaths) yield await readTrace(path);
  if (dataPath === undefined && tracePaths.length === 0) yield zipfTrace(seed);
}

/** A cache that stores objects in segments copies some of them, to free the segment of the others. */
function copyNotes(traceName: string, ratios: ReadonlyMap<string, readonly HitRatios[]>): string[] {
  return [...ratios]
    .filter(([, ofCache]) => ofCache.some(({ copied }) => copied > 0))
    .map(([name, ofCache]) => {
      const percents = ofCache.map(({ copied }) => `${(copied * 100).toFixed(1)} %`);
      return `${traceName}: ${name} copied ${percents.join(" and ")} of the bytes that it wrote`;
    });
}

function tableOf(title: string, ratios: ReadonlyMap<string, readonly HitRatios[]>): Table {
  const percent = (ratio: number): string => (ratio * 100).toFixed(1);
  return {
    title,
    columns: ["policy", ...cacheShares.map((share) => `cache of ${share * 100} %`)],
    rows: [...ratios].map(([name, ofCache]) => [
      name,
      ...ofCache.map(({ objects, bytes }) => `${percent(objects)} / ${percent(bytes)}`),
    ]),
  };
}

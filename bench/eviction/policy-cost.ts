/** What the memory tier's policy costs for each operation and each object that is stored. */
import { seededRandom } from "#base/random.ts";
import { admit } from "../../node/cache/eviction-policy.ts";
import { createGreedyDualPolicy } from "../../node/cache/greedy-dual-policy.ts";
import { keyOf } from "../../node/cache/object.ts";

export interface PolicyCost {
  readonly objects: number;
  readonly insertMicros: number;
  readonly useMicros: number;
  /** An insertion that evicts. */
  readonly replaceMicros: number;
  readonly bytesPerObject: number;
}

const operations = 500_000;

export function measurePolicyCost(objects: number): PolicyCost {
  const random = seededRandom(objects);
  const policy = createGreedyDualPolicy();
  const keys = Array.from({ length: objects + operations }, (_, number) => keyOf("policy-cost", String(number)));
  const candidates = keys.map((key) => ({ key, bytes: 1000 + 50_000 * random(), costMs: 1 + 200 * random() }));
  const chosen = Array.from({ length: operations }, () => keys[Math.floor(objects * random() ** 2)] as string);
  const insertMicros = microsEach(objects, () => {
    for (const { key, bytes, costMs } of candidates.slice(0, objects)) policy.inserted(key, bytes, costMs);
  });
  const useMicros = microsEach(operations, () => {
    for (const key of chosen) policy.used(key);
  });
  const evict = (key: string): number => {
    policy.removed(key);
    return Number.POSITIVE_INFINITY;
  };
  const replaceMicros = microsEach(operations, () => {
    for (const candidate of candidates.slice(objects)) admit(policy, candidate, 0, evict);
  });
  return { objects, insertMicros, useMicros, replaceMicros, bytesPerObject: policy.memoryBytes() / objects };
}

function microsEach(count: number, work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

import assert from "node:assert/strict";
import { describe, it, test } from "node:test";
import { seededRandom } from "../../../node/base/random.ts";
import {
  createFairQueue,
  enqueue,
  type FairJob,
  type FairLimits,
  type FairQueue,
  finish,
  isLarge,
  joinJob,
  leaveJob,
  leaveQueue,
  nextInTurn,
  payerOf,
  startTimeOf,
} from "../../../node/image/fair-queue.ts";

const limits: FairLimits = { workers: 2, placesMax: 2, largeCostMs: 1000, largeMax: 1, waitingCostMsMax: 40_000 };

interface Job extends FairJob {
  readonly networks: Map<string, number>;
}

function job(network: string, costMs: number): Job {
  return { costMs, networks: new Map([[network, 1]]) };
}

function add(queue: FairQueue, network: string, costMs: number, nowMs = 0, waitingMax = 1000): Job {
  const added = job(network, costMs);
  const admission = enqueue(queue, added, network, { waitingMax, nowMs });
  assert.equal(admission.outcome, "waits");
  return added;
}

describe("turns", () => {
  it("a network that is alone leaves a third of the places to others, who start before what it has prepared", () => {
    const queue = createFairQueue({ ...limits, placesMax: 6 }, 0);
    for (let count = 0; count < 10; count += 1) add(queue, "a", 500);
    const own: FairJob[] = [];
    for (let next = nextInTurn(queue, 0); next !== undefined; next = nextInTurn(queue, 0)) own.push(next);
    assert.equal(own.length, 4);
    const other = add(queue, "b", 500);
    assert.equal(nextInTurn(queue, 0), other);
    const third = add(queue, "c", 500);
    assert.equal(nextInTurn(queue, 0), third);
    const prepared = own.slice(1).map((one) => startTimeOf(queue, one));
    for (const late of [other, third]) assert(startTimeOf(queue, late) < Math.min(...prepared));
    assert.equal(nextInTurn(queue, 0), undefined);
  });

  it("one network after the other by what each has had, whatever waits of one", () => {
    const queue = createFairQueue({ ...limits, placesMax: 1 }, 0);
    for (let count = 0; count < 10; count += 1) add(queue, "a", 500);
    add(queue, "b", 200);
    add(queue, "b", 200);
    const order: string[] = [];
    for (let nowMs = 0; ;) {
      const next = nextInTurn(queue, nowMs);
      if (next === undefined) break;
      order.push(payerOf(queue, next) ?? "");
      nowMs += next.costMs;
      finish(queue, next, next.costMs, nowMs);
    }
    assert.equal(order.join(""), "abbaaaaaaaaa");
  });

  it("who took more than was estimated stands back, and is forgiven as time goes on", () => {
    const queue = createFairQueue({ ...limits, workers: 1, placesMax: 1 }, 0);
    const lied = add(queue, "a", 100);
    assert.equal(nextInTurn(queue, 0), lied);
    finish(queue, lied, 8000, 1000); // such as one that cost two processes
    const late = add(queue, "a", 100, 1000);
    const others = [add(queue, "b", 900, 1000), add(queue, "b", 900, 1000)];
    for (const [index, other] of others.entries()) {
      const nowMs = 1000 + 900 * index;
      assert.equal(nextInTurn(queue, nowMs), other, "what came later goes first");
      finish(queue, other, 900, nowMs + 900);
    }
    assert.equal(nextInTurn(queue, 2800), late, "nobody else waits");
    finish(queue, late, 100, 2900);
    const forgiven = [add(queue, "a", 100, 60_000), add(queue, "b", 100, 60_000)];
    assert.equal(nextInTurn(queue, 60_000), forgiven[0]);
  });

  it("a job of several networks gets its place by the first of them in turn, which pays", () => {
    const queue = createFairQueue({ ...limits, placesMax: 1 }, 0);
    const first = add(queue, "a", 500);
    assert.equal(nextInTurn(queue, 0), first);
    const shared = add(queue, "a", 500);
    add(queue, "c", 100);
    shared.networks.set("b", 1);
    joinJob(queue, shared, "b", 0);
    finish(queue, first, 500, 0);
    assert.equal(nextInTurn(queue, 0), shared);
    assert.equal(payerOf(queue, shared), "b");
  });

  it("of two networks that wait for a job, one may leave; when the last leaves, the job does", () => {
    const queue = createFairQueue(limits, 0);
    const shared = add(queue, "a", 500);
    shared.networks.set("b", 1);
    joinJob(queue, shared, "b", 0);
    leaveJob(queue, shared, "a");
    shared.networks.delete("a");
    assert.equal(queue.waiting.size, 1);
    leaveQueue(queue, shared);
    assert.deepEqual([queue.waiting.size, queue.waitingCostMs, queue.active], [0, 0, 0]);
    assert.equal(nextInTurn(queue, 0), undefined);
  });

  it("large jobs never take the last worker, and small ones of the same network pass them", () => {
    const queue = createFairQueue(limits, 0);
    const large = [add(queue, "a", 9000), add(queue, "a", 9000)];
    const small = [add(queue, "a", 50), add(queue, "b", 50)];
    assert.equal(nextInTurn(queue, 0), large[0]);
    assert.equal(nextInTurn(queue, 0), small[1], "b had nothing yet");
    assert.equal(nextInTurn(queue, 0), undefined, "both places are taken");
    finish(queue, small[1] as FairJob, 50, 50);
    assert.equal(nextInTurn(queue, 50), small[0]);
    finish(queue, small[0] as FairJob, 50, 100);
    assert.equal(nextInTurn(queue, 100), undefined, "the other worker stays free");
    finish(queue, large[0] as FairJob, 9000, 9000);
    assert.equal(nextInTurn(queue, 9000), large[1]);
  });
});

describe("bounds", () => {
  it("a network may have half of the queue, in jobs and in cost; its first job is always taken", () => {
    const queue = createFairQueue({ ...limits, placesMax: 0 }, 0);
    const refused = { outcome: "refused", because: "network" };
    add(queue, "a", 50_000);
    assert.deepEqual(enqueue(queue, job("a", 10), "a", { waitingMax: 1000, nowMs: 0 }), refused);
    const long = createFairQueue({ ...limits, placesMax: 0 }, 0);
    for (let count = 0; count < 5; count += 1) add(long, "a", 10, 0, 10);
    assert.deepEqual(enqueue(long, job("a", 10), "a", { waitingMax: 10, nowMs: 0 }), refused);
    add(long, "b", 10, 0, 10);
  });

  it("when the queue is full, the network with the most waiting loses its newest job", () => {
    const queue = createFairQueue({ ...limits, placesMax: 0 }, 0);
    const [oldest] = [add(queue, "a", 10_000), add(queue, "b", 9000), add(queue, "c", 9000), add(queue, "d", 9000)];
    const newest = add(queue, "a", 2000);
    assert.deepEqual(enqueue(queue, job("e", 2000), "e", { waitingMax: 1000, nowMs: 0 }), {
      outcome: "waits",
      displaced: [newest],
    });
    assert.deepEqual(enqueue(queue, job("f", 11_000), "f", { waitingMax: 1000, nowMs: 0 }), {
      outcome: "refused",
      because: "queue",
    });
    assert(queue.waiting.has(oldest));
  });
});

/** What must hold after every step. */
function checkQueue(queue: FairQueue, shown: string): void {
  let cost = 0;
  for (const { costMs } of queue.waiting.keys()) cost += costMs;
  assert(Math.abs(cost - queue.waitingCostMs) < 1e-3, `${shown}: the cost of what waits`);
  const large = [...queue.running.keys()].filter((one) => isLarge(queue, one)).length;
  assert.equal(queue.largeRunning, large, shown);
  assert(large <= queue.limits.largeMax && queue.running.size <= queue.limits.placesMax, `${shown}: places`);
  const active = new Set([...queue.running.values()].map(({ network }) => network));
  for (const one of queue.waiting.keys()) for (const network of one.networks.keys()) active.add(network);
  assert.equal(queue.active, active.size, `${shown}: active networks`);
  for (const [name, network] of queue.networks) {
    const waits = [...queue.waiting.keys()].filter(({ networks }) => networks.has(name));
    assert.equal(network.small.size + network.large.size, waits.length, `${shown}: the line of ${name}`);
    for (const entry of [...network.small.keys(), ...network.large.keys()]) assert(waits.includes(entry), shown);
  }
  const free = queue.limits.placesMax - queue.running.size;
  for (const one of free > 0 ? queue.waiting.keys() : []) {
    const hasShare = [...one.networks.keys()].every((name) => (queue.networks.get(name)?.running ?? 0) >= 2 * free);
    assert(isLarge(queue, one) || hasShare, `${shown}: a small job waits for nothing`);
  }
}

test("any interleaving keeps the bounds, and no place stays free for whom it could serve (seeded)", () => {
  for (let seed = 1; seed <= 60; seed += 1) {
    const random = seededRandom(seed);
    const whole = (max: number): number => Math.floor(random() * max);
    const queue = createFairQueue({ ...limits, placesMax: 4 }, 0);
    const jobs = new Set<Job>();
    let nowMs = 0;
    for (let step = 0; step < 400; step += 1) {
      const shown = `seed ${seed}, step ${step}`;
      nowMs += whole(200);
      const all = [...jobs];
      const some = all[whole(all.length)];
      const network = `n${whole(6)}`;
      switch (whole(5)) {
        case 0:
        case 1: {
          const added = job(network, random() < 0.2 ? 1001 + whole(9000) : 1 + whole(900));
          const waitingMax = 12;
          const before = new Set(queue.waiting.keys());
          const admission = enqueue(queue, added, network, { waitingMax, nowMs });
          if (admission.outcome === "refused") assert.deepEqual(new Set(queue.waiting.keys()), before, shown);
          if (admission.outcome === "waits") jobs.add(added);
          for (const displaced of admission.outcome === "waits" ? admission.displaced : []) {
            assert(!queue.waiting.has(displaced) && displaced.networks.size === 1, shown);
            jobs.delete(displaced as Job);
          }
          assert(queue.waiting.size <= waitingMax, shown);
          break;
        }
        case 2:
          if (some === undefined || !queue.waiting.has(some) || some.networks.has(network)) break;
          some.networks.set(network, 1);
          joinJob(queue, some, network, nowMs);
          break;
        case 3: {
          const [left] = some === undefined ? [] : some.networks.keys();
          if (some === undefined || left === undefined || !queue.waiting.has(some)) break;
          if (some.networks.size === 1) {
            leaveQueue(queue, some);
            jobs.delete(some);
          } else {
            leaveJob(queue, some, left);
            some.networks.delete(left);
          }
          break;
        }
        case 4: {
          const [done] = queue.running.keys();
          if (done === undefined) break;
          finish(queue, done, done.costMs * (0.5 + random()), nowMs);
          jobs.delete(done as Job);
          break;
        }
      }
      while (nextInTurn(queue, nowMs) !== undefined);
      checkQueue(queue, shown);
    }
  }
});

test("networks that always have work get equal time within one job, however much they ask for (seeded)", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seededRandom(seed);
    const queue = createFairQueue({ ...limits, workers: 1, placesMax: 1, waitingCostMsMax: 1e9 }, 0);
    const costs = new Map([
      ["a", 40],
      ["b", 300],
      ["c", 900],
    ]);
    const served = new Map<string, number>();
    const refill = (nowMs: number): void => {
      for (const [network, costMs] of costs) {
        const waits = queue.networks.get(network)?.small.size ?? 0;
        for (let count = waits; count < (network === "c" ? 30 : 2); count += 1) add(queue, network, costMs, nowMs);
      }
    };
    for (let nowMs = 0; nowMs < 200_000;) {
      refill(nowMs);
      const next = nextInTurn(queue, nowMs);
      assert(next !== undefined);
      const network = payerOf(queue, next) ?? "";
      const tookMs = next.costMs * (0.5 + random());
      nowMs += tookMs;
      served.set(network, (served.get(network) ?? 0) + tookMs);
      finish(queue, next, tookMs, nowMs);
    }
    const times = [...served.values()];
    assert.equal(times.length, 3);
    assert(Math.max(...times) - Math.min(...times) < 2 * 1350, `seed ${seed}: ${times.join(", ")}`);
  }
});

test("networks that came and went are forgotten", () => {
  const queue = createFairQueue(limits, 0);
  for (let count = 0; count < 30_000; count += 1) {
    const added = add(queue, `n${count}`, 500, count);
    assert.equal(nextInTurn(queue, count), added);
    finish(queue, added, 500, count);
  }
  assert(queue.networks.size <= 10_000, String(queue.networks.size));
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { silentLog } from "#base/log.ts";
import type { ProbeResult, SiteStates } from "#fleet/health.ts";
import { openProber, type Prober } from "#fleet/probe.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

/** A prober over nodes whose answers a test sets; `probed` counts the questions to each. */
function bench() {
  const clock = fakeClock();
  const answers = new Map<string, ProbeResult | Promise<ProbeResult>>();
  const probed = new Map<string, number>();
  const changes: SiteStates[] = [];
  const shares: Record<string, number>[] = [];
  const timeouts = new Set<number>();
  const soonest: ReadonlyMap<string, number>[] = [];
  const prober: Prober = openProber({
    self: "nyc1",
    async probe(baseUrl, timeoutMs) {
      timeouts.add(timeoutMs);
      probed.set(baseUrl, (probed.get(baseUrl) ?? 0) + 1);
      return await (answers.get(baseUrl) ?? { outcome: "ready" });
    },
    changed() {
      changes.push(prober.sites());
      shares.push(Object.fromEntries(prober.keptShares()));
    },
    judgedRound: (soonestMs) => {
      soonest.push(soonestMs);
    },
    clock,
    random: () => 1,
    log: silentLog,
  });
  return {
    clock,
    answers,
    probed,
    changes,
    shares,
    soonest,
    timeouts,
    prober,
    /** Lets whole intervals pass, one probe after another. */
    pass: async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 100) {
        clock.advance(100);
        await turn();
      }
    },
  };
}

const failed: ProbeResult = { outcome: "failed", reason: "no" };
const site = (name: string) => siteValue(name, { nodes: [{ name: `${name}1`, http: `http://${name}` }] });
const two = fleetWith({ sites: [site("fra"), site("nyc")] });

test("every node is judged once before judged() resolves, a dead one as down by its first probe", async () => {
  const { prober, answers } = bench();
  const slow = Promise.withResolvers<ProbeResult>();
  answers.set("http://fra", slow.promise).set("http://nyc", failed);
  prober.watch(two);
  let isJudged = false;
  const judged = prober.judged().then(() => (isJudged = true));
  await turn();
  assert(!isJudged);
  slow.resolve({ outcome: "ready" });
  await judged;
  assert.deepEqual(
    [...prober.sites()],
    [
      ["fra", "up"],
      ["nyc", "down"],
    ],
  );
  prober.close();
});

test("three failures in a row take a node down, two successes bring it up, and each change is told once", async () => {
  const { prober, answers, changes, pass } = bench();
  prober.watch(two);
  await prober.judged();
  const before = changes.length;
  answers.set("http://nyc", failed);
  await pass(2000);
  assert.equal(prober.sites().get("nyc"), "up");
  await pass(1000);
  assert.equal(prober.sites().get("nyc"), "down");
  answers.set("http://nyc", { outcome: "ready" });
  await pass(1000); // a node that is down is asked twice as often
  assert.equal(prober.sites().get("nyc"), "up");
  assert.equal(changes.length, before + 2);
  prober.close();
});

test("a node that is forgotten is no longer probed, and an answer that was on its way is dropped", async () => {
  const { prober, answers, probed, pass } = bench();
  const slow = Promise.withResolvers<ProbeResult>();
  prober.watch(two);
  await prober.judged();
  answers.set("http://nyc", slow.promise);
  await pass(1000);
  const asked = probed.get("http://nyc");
  prober.watch(fleetWith({ sites: [site("fra")] }));
  slow.resolve(failed);
  await pass(5000);
  assert.equal(probed.get("http://nyc"), asked);
  assert.deepEqual([...prober.health().keys()], ["fra1"]);
  assert.deepEqual([...prober.sites().keys()], ["fra"]);
  prober.close();
});

test("a new document leaves what is known of the nodes that stay", async () => {
  const { prober, answers } = bench();
  answers.set("http://nyc", failed);
  prober.watch(two);
  await prober.judged();
  prober.watch(fleetWith({ sites: [site("fra"), site("nyc"), site("tyo")] }));
  assert.equal(prober.sites().get("nyc"), "down");
  assert.equal(prober.sites().get("tyo"), "up", "not yet probed counts as up");
  prober.close();
});

test("one probe per node is under way, and none takes longer than the interval", async () => {
  const { prober, answers, probed, timeouts, pass } = bench();
  answers.set("http://fra", new Promise(() => undefined));
  prober.watch(fleetWith({ sites: [site("fra")], probe: { intervalMs: 500, timeoutMs: 3000 } }));
  await pass(5000);
  assert.equal(probed.get("http://fra"), 1);
  assert.deepEqual([...timeouts], [500]);
  prober.close();
});

test("after close nothing is probed and nothing told", async () => {
  const { prober, answers, probed, changes, pass } = bench();
  prober.watch(two);
  await prober.judged();
  prober.close();
  const asked = probed.get("http://fra");
  const told = changes.length;
  answers.set("http://fra", failed);
  await pass(5000);
  assert.equal(probed.get("http://fra"), asked);
  assert.equal(changes.length, told);
});

const nodesOf = (name: string, count: number) =>
  Array.from({ length: count }, (_, n) => ({ name: `${name}${n + 1}`, http: `http://${name}${n + 1}` }));

test("a node's last load counts until it is down; a site's is the sum", async () => {
  const { prober, answers, pass } = bench();
  answers.set("http://fra1", { outcome: "ready", load: 10 }).set("http://fra2", { outcome: "ready", load: 5 });
  answers.set("http://nyc1", { outcome: "ready" });
  prober.watch(
    fleetWith({
      sites: [siteValue("fra", { nodes: nodesOf("fra", 2) }), siteValue("nyc", { nodes: nodesOf("nyc", 1) })],
    }),
  );
  await prober.judged();
  assert.deepEqual([...prober.loads()], [["fra", 15]]);
  answers.set("http://fra1", failed);
  await pass(2000);
  assert.equal(prober.loads().get("fra"), 15, "not down yet");
  await pass(1000);
  assert.equal(prober.loads().get("fra"), 5);
  answers.set("http://fra1", { outcome: "ready" }).set("http://fra2", { outcome: "draining", load: 7 });
  await pass(3000);
  assert.equal(prober.loads().get("fra"), undefined, "up again without a word, and one that drains");
  answers.set("http://fra1", { outcome: "ready", load: 3 });
  await pass(1000);
  assert.equal(prober.loads().get("fra"), 3);
  prober.close();
});

test("a full site sheds at the next round of the wall clock, and takes back when it is empty again", async () => {
  const { prober, answers, changes, shares, clock, pass } = bench();
  const sites = [
    siteValue("fra", { nodes: nodesOf("fra", 1), capacity: { requestsPerSecond: 100 } }),
    siteValue("nyc", { nodes: nodesOf("nyc", 1) }),
  ];
  clock.advance(1700); // rounds are at whole fives of seconds, whenever the process began
  answers.set("http://fra1", { outcome: "ready", load: 125 });
  prober.watch(fleetWith({ sites }));
  await prober.judged();
  assert.deepEqual([...prober.keptShares().values()], [1, 1]);
  await pass(3200);
  assert.equal(prober.keptShares().get("fra"), 1);
  await pass(100);
  assert.equal(prober.keptShares().get("fra"), 0.76);
  assert.deepEqual(shares.at(-1), { fra: 0.76, nyc: 1 });
  assert.equal(prober.soonestChangesMs().get("fra"), 900, "less than the next round of shares");
  // A new document leaves the shares as they are.
  prober.watch(fleetWith({ sites: [...sites, siteValue("tyo", { nodes: nodesOf("tyo", 1) })] }));
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 0.76, nyc: 1, tyo: 1 });
  answers.set("http://fra1", { outcome: "ready", load: 10 });
  const told = changes.length;
  await pass(100_000);
  assert.equal(prober.keptShares().get("fra"), 1);
  assert.equal(changes.length, told + 5, "five steps");
  prober.close();
});

test("the share that a site's own node tells is taken; this node's own site is decided here", async () => {
  const { prober, answers, pass } = bench();
  const capacity = { requestsPerSecond: 100 };
  answers.set("http://fra1", { outcome: "ready", load: 10, keptShare: 0.4 });
  answers.set("http://nyc1", { outcome: "ready", load: 10, keptShare: 0.4 });
  prober.watch(
    fleetWith({ sites: ["fra", "nyc"].map((name) => siteValue(name, { nodes: nodesOf(name, 1), capacity })) }),
  );
  await pass(5100);
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 0.4, nyc: 1 });
  answers.set("http://fra1", failed);
  await pass(10_000);
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 1, nyc: 1 });
  prober.close();
});

test("the soonest changes are told soon after a judgement that altered them, several at once", async () => {
  const { prober, answers, soonest, pass } = bench();
  const probe = { intervalMs: 1000, timeoutMs: 100 }; // 3 failures, 2 successes
  prober.watch(fleetWith({ sites: [site("fra"), site("nyc"), site("tyo")], probe }));
  await prober.judged();
  await pass(200);
  assert.deepEqual(soonest.at(-1), new Map(["fra", "nyc", "tyo"].map((name) => [name, 1800])));
  const told = soonest.length;
  await pass(5000);
  assert.equal(soonest.length, told, "nothing new");
  answers.set("http://fra", failed).set("http://nyc", failed);
  await pass(1000);
  assert.equal(soonest.length, told + 1);
  assert.deepEqual(Object.fromEntries(prober.soonestChangesMs()), { fra: 850, nyc: 850, tyo: 1800 });
  await pass(2000);
  assert.deepEqual(Object.fromEntries(soonest.at(-1) ?? []), { fra: 375, nyc: 375, tyo: 1800 });
  prober.watch(fleetWith({ sites: [siteValue("fra", { state: "down" })], probe }));
  assert.deepEqual(soonest.at(-1), new Map());
  prober.close();
});

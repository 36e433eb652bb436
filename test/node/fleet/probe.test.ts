import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { silentLog } from "#base/log.ts";
import type { ProbeResult, SiteStates } from "#fleet/health.ts";
import { openProber } from "#fleet/probe.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

/** A prober over nodes whose answers a test sets; `probed` counts the questions to each. */
function bench() {
  const clock = fakeClock();
  const answers = new Map<string, ProbeResult | Promise<ProbeResult>>();
  const probed = new Map<string, number>();
  const changes: SiteStates[] = [];
  const timeouts = new Set<number>();
  const prober = openProber({
    async probe(baseUrl, timeoutMs) {
      timeouts.add(timeoutMs);
      probed.set(baseUrl, (probed.get(baseUrl) ?? 0) + 1);
      return await (answers.get(baseUrl) ?? { outcome: "ready" });
    },
    changed: (states) => changes.push(states),
    clock,
    random: () => 1,
    log: silentLog,
  });
  return {
    clock,
    answers,
    probed,
    changes,
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

import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { silentLog } from "#base/log.ts";
import { watchedId } from "#health/consensus.ts";
import type { HealthAnswer, ProbeResult, SiteStates } from "#health/health.ts";
import { openProber, type Prober } from "#health/prober.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

/** A prober over nodes whose answers a test sets, by their URL; `probed` counts the questions to each. */
function bench() {
  const clock = fakeClock();
  const answers = new Map<string, ProbeResult | Promise<ProbeResult>>();
  const probed = new Map<string, number>();
  const changes: SiteStates[] = [];
  const shares: Record<string, number>[] = [];
  const timeouts = new Set<number>();
  const soonest: ReadonlyMap<string, number>[] = [];
  const so: { presence: "starting" | "ready" | "draining"; answer: HealthAnswer } = { presence: "ready", answer: {} };
  const prober: Prober = openProber({
    self: "ams1",
    presence: () => so.presence,
    answer: () => so.answer,
    async probe({ http }, timeoutMs) {
      timeouts.add(timeoutMs);
      probed.set(http, (probed.get(http) ?? 0) + 1);
      return await (answers.get(http) ?? { outcome: "ready" });
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
    so,
    prober,
    /** Lets time pass, one probe after another. */
    pass: async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 50) {
        clock.advance(50);
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

test("failures in a row take a node down, two successes bring it up, and each change is reported once", async () => {
  const { prober, answers, changes, pass } = bench();
  prober.watch(two);
  await prober.judged();
  const before = changes.length;
  answers.set("http://nyc", failed);
  await pass(1550); // the first attempt after a second, six more a tenth apart
  assert.equal(prober.sites().get("nyc"), "up");
  await pass(50);
  assert.equal(prober.sites().get("nyc"), "down");
  assert.equal(prober.health().get("nyc1")?.reason, "7 probes from here failed: no");
  answers.set("http://nyc", { outcome: "ready" });
  await pass(1000); // a node that is down is asked twice as often
  assert.equal(prober.sites().get("nyc"), "up");
  assert.equal(changes.length, before + 2);
  prober.close();
});

test("a late answer is not waited for: others are asked for beside it, and the first one counts", async () => {
  const { prober, answers, probed, pass } = bench();
  prober.watch(fleetWith({ sites: [site("fra")] }));
  await prober.judged();
  const late = Promise.withResolvers<ProbeResult>();
  answers.set("http://fra", late.promise);
  await pass(1000);
  assert.equal(probed.get("http://fra"), 2);
  await pass(500);
  assert.equal(probed.get("http://fra"), 7);
  assert.equal(prober.health().get("fra1")?.contraryCount, 5);
  late.resolve(failed);
  answers.set("http://fra", { outcome: "ready" });
  await pass(100);
  assert.equal(prober.health().get("fra1")?.state, "up");
  assert.equal(prober.health().get("fra1")?.contraryCount, 0);
  const asked = probed.get("http://fra");
  await pass(300);
  assert.equal(probed.get("http://fra"), asked, "all is well again");
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

test("attempts at a node that is silent are bounded, and none takes longer than the interval", async () => {
  const { prober, answers, probed, timeouts, pass } = bench();
  const pending: ((result: ProbeResult) => void)[] = [];
  prober.watch(fleetWith({ sites: [site("fra")], probe: { intervalMs: 500, timeoutMs: 3000 } }));
  await prober.judged();
  // Cut off after the timeout, as the client does it.
  answers.set("http://fra", new Promise((resolve) => pending.push(resolve)));
  await pass(500 + 500);
  assert.equal(probed.get("http://fra"), 12);
  assert.deepEqual([...timeouts], [500]);
  pending[0]?.(failed);
  await pass(50);
  assert.equal(prober.health().get("fra1")?.state, "down");
  const asked = probed.get("http://fra") ?? 0;
  await pass(5000);
  assert.equal((probed.get("http://fra") ?? 0) - asked, 20, "twice per interval");
  prober.close();
});

/** What fra1 and nyc1 say of others; tyo1 is the one that is spoken of. */
const three = fleetWith({ sites: [site("fra"), site("nyc"), site("tyo")] });
const watched = watchedId(["fra1", "nyc1", "tyo1"]);
const saying = (unreachable: string[], more: HealthAnswer = {}): ProbeResult => ({
  outcome: "ready",
  answer: { unreachable, watched, ...more },
});

test("what this node lost stays up while another that it reaches reaches it", async () => {
  const { prober, answers, changes, pass } = bench();
  answers.set("http://fra", saying(["tyo1"])).set("http://nyc", saying([]));
  prober.watch(three);
  await prober.judged();
  const before = changes.length;
  answers.set("http://tyo", failed);
  await pass(60_000);
  assert.deepEqual(prober.view().unreachable, ["tyo1"]);
  assert.equal(prober.health().get("tyo1")?.reason, "nyc1 reaches it; 7 probes from here failed: no");
  assert.equal(changes.length, before);
  answers.set("http://nyc", saying(["tyo1"]));
  await pass(1050);
  assert.equal(prober.sites().get("tyo"), "down", "news, not the age of the last answer");
  answers.set("http://fra", saying([]));
  await pass(1050);
  assert.equal(prober.sites().get("tyo"), "up");
  answers.set("http://fra", new Promise(() => undefined));
  await pass(1500);
  assert.equal(prober.sites().get("tyo"), "down", "its witness is silent");
  prober.close();
});

test("words of other nodes than this fleet's, or without any, speak for nobody", async () => {
  const { prober, answers, pass } = bench();
  answers.set("http://fra", { outcome: "ready", answer: { unreachable: [], watched: "0123456789abcdef" } });
  answers.set("http://nyc", { outcome: "ready" }).set("http://tyo", failed);
  prober.watch(three);
  await pass(3000);
  assert.equal(prober.sites().get("tyo"), "down");
  assert.deepEqual(Object.keys(prober.answers().get("fra1") ?? {}), ["unreachable", "watched"]);
  assert(!prober.answers().has("nyc1"));
  prober.close();
});

test("this node's view: what it does not reach itself, hearsay left out, and which nodes it speaks of", async () => {
  const { prober, answers, pass } = bench();
  assert.deepEqual(prober.view(), {});
  prober.watch(three);
  const always = { watched, asksProof: true };
  assert.deepEqual(prober.view(), { unreachable: ["fra1", "nyc1", "tyo1"], ...always }, "not judged yet");
  await prober.judged();
  assert.deepEqual(prober.view(), { unreachable: [], ...always });
  answers.set("http://fra", saying([])).set("http://tyo", failed).set("http://nyc", { outcome: "draining" });
  await pass(3000);
  assert.deepEqual(prober.view(), { unreachable: ["tyo1"], draining: ["nyc1"], ...always });
  assert.equal(prober.health().get("tyo1")?.state, "up");
  prober.close();
});

test("a node that reaches no other machine is isolated, and answers with its own site", async () => {
  const { prober, answers, pass } = bench();
  const own = siteValue("ams", {
    nodes: [
      { name: "ams1", http: "http://192.0.2.7:8080" },
      { name: "ams2", http: "http://192.0.2.7:9080" }, // the same machine
    ],
  });
  prober.watch(fleetWith({ sites: [own, site("fra"), site("nyc")] }));
  await prober.judged();
  answers.set("http://fra", failed);
  await pass(2000);
  assert(!prober.isIsolated());
  answers.set("http://nyc", failed);
  await pass(2000);
  assert(prober.isIsolated());
  assert.deepEqual(Object.fromEntries(prober.sites()), { ams: "up", fra: "down", nyc: "down" });
  assert.match(
    prober.health().get("fra1")?.reason ?? "",
    /it may be up, since no other machine can be reached from here$/,
  );
  assert.equal(prober.view().isIsolated, true);
  answers.set("http://nyc", { outcome: "ready" });
  await pass(1100);
  assert(!prober.isIsolated());
  assert.deepEqual(Object.fromEntries(prober.sites()), { ams: "up", fra: "down", nyc: "up" });
  prober.close();
});

test("alone in its fleet, or with others on its own machine only, a node is not isolated", async () => {
  const { prober, answers, pass } = bench();
  const nodes = ["ams1", "ams2"].map((name, at) => ({ name, http: `http://127.0.0.1:${8080 + at}` }));
  prober.watch(fleetWith({ sites: [siteValue("ams", { nodes: nodes.slice(0, 1) })] }));
  await pass(3000);
  assert(!prober.isIsolated());
  answers.set("http://127.0.0.1:8081", failed);
  prober.watch(fleetWith({ sites: [siteValue("ams", { nodes })] }));
  await pass(3000);
  assert.equal(prober.health().get("ams2")?.state, "down");
  assert(!prober.isIsolated());
  prober.close();
});

test("of itself a node takes its own word, never a probe; draining counts at once when it says so", async () => {
  const { prober, probed, so, pass } = bench();
  so.answer = { load: 12 };
  prober.watch(fleetWith({ sites: [site("ams"), site("fra")] }));
  await prober.judged();
  assert.equal(prober.sites().get("ams"), "up");
  assert.equal(prober.loads().get("ams"), 12);
  so.presence = "draining";
  prober.refresh();
  assert.equal(prober.sites().get("ams"), "draining");
  so.presence = "ready";
  await pass(1000);
  assert.equal(prober.sites().get("ams"), "up");
  so.presence = "starting";
  await pass(1000);
  assert.equal(prober.sites().get("ams"), "up", "its DNS will answer with its own site from the first answer on");
  assert.equal(probed.get("http://ams"), undefined);
  prober.close();
});

test("a long start, during which no other node reaches this one, does not count against it", async () => {
  const { prober, answers, so, pass } = bench();
  const id = watchedId(["ams1", "fra1", "nyc1"]);
  const listing: ProbeResult = { outcome: "ready", answer: { unreachable: ["ams1"], watched: id } };
  answers.set("http://fra", listing).set("http://nyc", listing);
  so.presence = "starting";
  prober.watch(fleetWith({ sites: [site("ams"), site("fra"), site("nyc")] }));
  await pass(60_000);
  assert.equal(prober.sites().get("ams"), "up");
  so.presence = "ready";
  await pass(9000);
  assert.equal(prober.sites().get("ams"), "up");
  await pass(3000);
  assert.equal(prober.sites().get("ams"), "down");
  prober.close();
});

test("whom nobody reaches, as others' answers say, is down in its own eyes too", async () => {
  const { prober, answers, pass } = bench();
  const fleet = fleetWith({ sites: [site("ams"), site("fra"), site("nyc")] });
  const id = watchedId(["ams1", "fra1", "nyc1"]);
  const listing: ProbeResult = { outcome: "ready", answer: { unreachable: ["ams1"], watched: id } };
  answers.set("http://fra", listing).set("http://nyc", listing);
  prober.watch(fleet);
  await pass(10_000);
  assert.equal(prober.sites().get("ams"), "up");
  await pass(2000);
  assert.equal(prober.sites().get("ams"), "down");
  assert.match(prober.health().get("ams1")?.reason ?? "", /other nodes do not reach it/);
  answers.set("http://nyc", { outcome: "ready", answer: { unreachable: [], watched: id } });
  await pass(2000);
  assert.equal(prober.sites().get("ams"), "up");
  prober.close();
});

test("a change of a node with addresses of its own is reported, and live() has those of now", async () => {
  const { prober, answers, changes, pass } = bench();
  const nodes = [1, 2].map((n) => ({ name: `fra${n}`, http: `http://fra${n}`, addresses: [`198.51.100.${n}`] }));
  const fleet = fleetWith({ sites: [siteValue("fra", { nodes, addresses: [] }), site("nyc")] });
  assert.equal(prober.live(), undefined);
  prober.watch(fleet);
  await prober.judged();
  await pass(100);
  const before = { told: changes.length, live: prober.live() };
  assert.deepEqual(before.live?.sites[0]?.addresses, ["198.51.100.1", "198.51.100.2"]);
  answers.set("http://fra2", failed).set("http://nyc", { outcome: "draining" });
  await pass(2000);
  assert.equal(prober.sites().get("fra"), "up");
  assert.deepEqual(prober.live()?.sites[0]?.addresses, ["198.51.100.1"]);
  assert.equal(changes.length, before.told + 2, "nyc drains, fra2 is gone");
  const now = prober.live();
  answers.set("http://nyc", { outcome: "ready" });
  await pass(2000);
  assert.equal(changes.length, before.told + 3);
  assert.equal(prober.live(), now, "the same object while it says the same");
  prober.close();
});

test("a node that an operator drains drains as soon as the document says so, and returns so", async () => {
  const { prober, changes } = bench();
  prober.watch(two);
  await prober.judged();
  const before = changes.length;
  const draining = siteValue("nyc", { nodes: [{ name: "nyc1", http: "http://nyc", state: "draining" }] });
  prober.watch(fleetWith({ sites: [site("fra"), draining] }));
  assert.equal(prober.sites().get("nyc"), "draining");
  prober.watch(two);
  assert.equal(prober.sites().get("nyc"), "up");
  assert.equal(changes.length, before + 2);
  prober.close();
});

test("after close nothing is probed and nothing reported", async () => {
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
  answers
    .set("http://fra1", { outcome: "ready", answer: { load: 10 } })
    .set("http://fra2", { outcome: "ready", answer: { load: 5 } });
  answers.set("http://nyc1", { outcome: "ready" });
  prober.watch(
    fleetWith({
      sites: [siteValue("fra", { nodes: nodesOf("fra", 2) }), siteValue("nyc", { nodes: nodesOf("nyc", 1) })],
    }),
  );
  await prober.judged();
  assert.deepEqual([...prober.loads()], [["fra", 15]]);
  answers.set("http://fra1", failed);
  await pass(1500);
  assert.equal(prober.loads().get("fra"), 15, "not down yet");
  await pass(500);
  assert.equal(prober.loads().get("fra"), 5);
  answers.set("http://fra1", { outcome: "ready" }).set("http://fra2", { outcome: "draining", answer: { load: 7 } });
  await pass(3000);
  assert.equal(prober.loads().get("fra"), undefined, "up again without an answer, and one that drains");
  answers.set("http://fra1", { outcome: "ready", answer: { load: 3 } });
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
  answers.set("http://fra1", { outcome: "ready", answer: { load: 125 } });
  prober.watch(fleetWith({ sites }));
  await prober.judged();
  assert.deepEqual([...prober.keptShares().values()], [1, 1]);
  await pass(3200);
  assert.equal(prober.keptShares().get("fra"), 1);
  await pass(100);
  assert.equal(prober.keptShares().get("fra"), 0.76);
  assert.deepEqual(shares.at(-1), { fra: 0.76, nyc: 1 });
  assert.equal(prober.soonestChangesMs().get("fra"), 570, "less than the next round of shares");
  // A new document leaves the shares as they are.
  prober.watch(fleetWith({ sites: [...sites, siteValue("tyo", { nodes: nodesOf("tyo", 1) })] }));
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 0.76, nyc: 1, tyo: 1 });
  answers.set("http://fra1", { outcome: "ready", answer: { load: 10 } });
  const told = changes.length;
  await pass(100_000);
  assert.equal(prober.keptShares().get("fra"), 1);
  assert(changes.length > told, "each step is told");
  prober.close();
});

test("the share that a site's own node tells is taken; this node's own site is decided here", async () => {
  const { prober, answers, so, pass } = bench();
  const capacity = { requestsPerSecond: 100 };
  answers.set("http://fra1", { outcome: "ready", answer: { load: 10, keptShare: 0.4 } });
  so.answer = { load: 10, keptShare: 0.4 };
  prober.watch(
    fleetWith({ sites: ["fra", "ams"].map((name) => siteValue(name, { nodes: nodesOf(name, 1), capacity })) }),
  );
  await pass(5100);
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 0.4, ams: 1 });
  answers.set("http://fra1", failed);
  await pass(10_000);
  assert.deepEqual(Object.fromEntries(prober.keptShares()), { fra: 1, ams: 1 });
  prober.close();
});

test("the soonest changes are reported soon after a judgement that altered them, several at once", async () => {
  const { prober, answers, soonest, pass } = bench();
  const probe = { intervalMs: 1000, timeoutMs: 100 }; // 7 failures, 95 ms apart at least
  prober.watch(fleetWith({ sites: [site("fra"), site("nyc"), site("tyo")], probe }));
  await prober.judged();
  await pass(200);
  assert.deepEqual(soonest.at(-1), new Map(["fra", "nyc", "tyo"].map((name) => [name, 570])));
  const told = soonest.length;
  await pass(5000);
  assert.equal(soonest.length, told, "nothing new");
  answers.set("http://fra", failed).set("http://nyc", failed);
  await pass(1200);
  assert.deepEqual(Object.fromEntries(prober.soonestChangesMs()), { fra: 285, nyc: 285, tyo: 570 });
  assert(soonest.length <= told + 3, "both at once");
  await pass(2000);
  assert.deepEqual(Object.fromEntries(soonest.at(-1) ?? []), { fra: 0, nyc: 0, tyo: 570 });
  prober.watch(fleetWith({ sites: [siteValue("fra", { state: "down" })], probe }));
  assert.deepEqual(soonest.at(-1), new Map());
  prober.close();
});

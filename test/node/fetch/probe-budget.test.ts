import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { openProber } from "#health/prober.ts";
import { openProbeClient } from "../../../node/fetch/http-probe.ts";
import {
  attemptsPerSecondMax,
  connectionsMax,
  createProbeBudget,
  type ProbeBudget,
} from "../../../node/fetch/probe-budget.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";
import { until } from "../../support/world.ts";

/** Nodes that ask as soon as they may, each `everyMs`; when each of them was let through. Attempts end at once. */
function ask(budget: ProbeBudget, address: string, nodes: readonly string[], everyMs: number, forMs: number) {
  const begun = new Map(nodes.map((node) => [node, [] as number[]]));
  const dueMs = new Map(nodes.map((node, at) => [node, (at * everyMs) / nodes.length]));
  for (let nowMs = 0; nowMs < forMs; nowMs += 1) {
    for (const node of nodes) {
      if ((dueMs.get(node) ?? 0) > nowMs) continue;
      const admission = budget.admit(address, node, nowMs);
      if (admission.outcome === "held") {
        assert(admission.waitMs > 0, "never in a loop");
        dueMs.set(node, nowMs + admission.waitMs);
        continue;
      }
      admission.ended();
      begun.get(node)?.push(nowMs);
      dueMs.set(node, nowMs + everyMs);
    }
  }
  return begun;
}

const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `n${index}`);

test("a node alone at its address is never held, silent or not; nor are thirty that answer", () => {
  for (const [count, everyMs] of [
    [1, 100],
    [3, 100],
    [30, 1000],
  ] as const) {
    const begun = ask(createProbeBudget(), "192.0.2.1", names(count), everyMs, 10_000);
    for (const [node, times] of begun) assert(times.length >= 10_000 / everyMs - 1, `${node}: ${times.length}`);
  }
});

test("four hundred at one address take turns: so many a second, each as often as every other", () => {
  const budget = createProbeBudget();
  const begun = ask(budget, "192.0.2.1", names(400), 100, 60_000);
  const all = [...begun.values()].flat();
  for (let second = 0; second < 60; second += 1) {
    const count = all.filter((ms) => ms >= second * 1000 && ms < (second + 1) * 1000).length;
    assert(count <= attemptsPerSecondMax * (second === 0 ? 2 : 1) + 1, `${count} in second ${second}`);
  }
  const counts = [...begun.values()].map(({ length }) => length);
  assert(Math.min(...counts) >= 4, "60 s are 4.8 turns of 12.5 s");
  assert(Math.max(...counts) <= 6);
  const other = ask(budget, "192.0.2.2", ["other"], 100, 10_000).get("other");
  assert.equal(other?.length, 100, "who has an address of its own is not held");
});

test("one that goes on asking does not keep others from their turns", () => {
  const budget = createProbeBudget();
  for (let nowMs = 0; nowMs < 2000; nowMs += 1) budget.admit("192.0.2.1", `greedy${nowMs}`, 0);
  const held = budget.admit("192.0.2.1", "late", 0);
  assert(held.outcome === "held");
  // The same node again has the same turn, and takes no further place.
  const [again, sooner] = [budget.admit("192.0.2.1", "late", 0), budget.admit("192.0.2.1", "late", 10)];
  assert.deepEqual([again, sooner], [held, { outcome: "held", waitMs: held.waitMs - 10 }]);
});

test("past so many connections an attempt is held until one ends, and connections of many are not kept", () => {
  const budget = createProbeBudget();
  const open = names(connectionsMax).map((node, at) => budget.admit("192.0.2.1", node, at * 1000));
  const nowMs = connectionsMax * 1000;
  assert.deepEqual(budget.admit("192.0.2.1", "one more", nowMs), { outcome: "held", waitMs: 100 });
  const [first] = open;
  assert(first?.outcome === "begins" && !first.isCrowded);
  assert(open.at(-1)?.outcome === "begins");
  first.ended();
  const next = budget.admit("192.0.2.1", "one more", nowMs + 100);
  assert(next.outcome === "begins" && next.isCrowded);
});

test("an IPv6 /64 is one address, and so are all spellings of one", () => {
  const rows: [address: string, alike: string, isSame: boolean][] = [
    ["192.0.2.1", "192.0.2.2", false],
    ["192.0.2.1", "::ffff:192.0.2.1", true],
    ["192.0.2.1", "::ffff:c000:0201", true],
    ["192.0.2.1", "64:ff9b::c000:201", true],
    ["192.0.2.1", "2002:c000:201::1", true],
    ["2002:c000:201:1::1", "2002:c000:201:2::1", true],
    ["64:ff9b::c000:201", "64:ff9b::c000:202", false],
    ["2001:db8::1", "2001:db8::2:3:4:5", true],
    ["2001:db8::1", "2001:0DB8:0:0:ffff::", true],
    ["2001:db8::1", "2001:db8:0:1::1", false],
    ["::1", "::", true],
  ];
  for (const [address, alike, isSame] of rows) {
    const budget = createProbeBudget();
    budget.admit(address, "a", 0);
    budget.admit(alike, "b", 0);
    assert.equal(budget.size(), isSame ? 1 : 2, `${address} ${alike}`);
  }
});

test("addresses that are asked no more are forgotten", () => {
  const budget = createProbeBudget();
  for (let last = 0; last < 200; last += 1) {
    const admission = budget.admit(`192.0.2.${last}`, "a", 0);
    assert(admission.outcome === "begins");
    admission.ended();
  }
  budget.admit("198.51.100.1", "b", 200_000);
  assert.equal(budget.size(), 1);
});

/** A victim that counts, and answers as it is told. */
async function listening(t: TestContext, host: string, answer: string) {
  const counts = { connections: 0, open: 0, mostOpen: 0, requests: 0 };
  const server = createServer((socket) => {
    counts.connections += 1;
    counts.open += 1;
    counts.mostOpen = Math.max(counts.mostOpen, counts.open);
    socket.on("error", () => undefined); // the prober gave up
    socket.once("close", () => (counts.open -= 1));
    socket.on("data", () => {
      counts.requests += 1;
      if (answer !== "") socket.write(answer);
    });
  });
  server.listen(0, host);
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  assert(typeof address === "object" && address !== null);
  return { counts, port: address.port };
}

for (const [what, answer] of [
  ["answers", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"],
  ["is silent", ""],
] as const) {
  test(`400 URLs of a victim that ${what}: it gets the share of one address, and no other node waits`, async (t) => {
    const host = `127.${60 + (process.pid % 100)}.${process.ppid % 250}.1`;
    const victim = await listening(t, host, answer);
    const honest = await listening(t, host.replace(/1$/, "2"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    const aimed = Array.from({ length: 200 }, (_, index) => index);
    const fleet = fleetWith({
      sites: [
        siteValue("fra", { nodes: [{ name: "fra1", http: `http://${host.replace(/1$/, "2")}:${honest.port}` }] }),
        ...["nyc", "tyo"].map((site) =>
          siteValue(site, {
            nodes: aimed.map((index) => ({
              name: `${site}${index}`,
              http: `http://${host}:${victim.port}/${site}${index}`,
            })),
          }),
        ),
      ],
    });
    const client = openProbeClient({ secrets: () => [], clock: systemClock });
    const prober = openProber({
      self: "ams1",
      presence: () => "ready",
      answer: () => ({}),
      probe: client.probe,
      changed: () => undefined,
      judgedRound: () => undefined,
      clock: systemClock,
      random: Math.random,
      log: silentLog,
    });
    t.after(async () => {
      prober.close();
      await client.close();
    });
    const begunMs = performance.now();
    prober.watch(fleet);
    await prober.judged();
    t.diagnostic(`all were judged or held after ${Math.round(performance.now() - begunMs)} ms`);
    await until("the honest node was probed five times", async () => honest.counts.requests >= 5);
    const seconds = (performance.now() - begunMs) / 1000;
    const { connections, mostOpen, requests } = victim.counts;
    t.diagnostic(`in ${seconds.toFixed(1)} s: ${connections} connections, ${mostOpen} at once, ${requests} requests`);
    const attemptsMost = attemptsPerSecondMax * (seconds + 1) + 1;
    assert(connections <= attemptsMost && requests <= attemptsMost, `${connections}, ${requests} > ${attemptsMost}`);
    // Some are on their way out while the next ones come.
    assert(mostOpen <= 2 * connectionsMax, `${mostOpen} connections at once`);
    assert.equal(prober.health().get("fra1")?.state, "up");
  });
}

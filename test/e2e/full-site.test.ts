/**
 * A site that is asked for half as much again as it can do, beside one that is nearly idle: DNS moves clients away, and
 * until they have moved, misses are handed on. Nobody sees a failure. When the rush is over, its clients come back.
 *
 *   clients of fra   40/s ── 90/s, of 60 that it can do ── 30/s          clients of nyc   20/s, of 200
 *
 * Each client asks DNS again when its answer's time is over, as resolvers do. Times are told, not judged: they are the
 * machine's.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import sharp from "sharp";
import { Agent, request } from "undici";
import { ask } from "../support/ask.ts";
import { startWorld, type World } from "../support/world.ts";

const host = "img.cdn.test";
const networks = 60;
const fixedVariants = 20;
/** One request in so many is for a variant that nobody asked for before. */
const missEvery = 8;

interface Seen {
  status: number;
  cacheStatus: string;
  ms: number;
}

interface Traffic {
  setRate: (perSecond: number) => void;
  /** What was seen since the last call. */
  take: () => Seen[];
  stop: () => Promise<void>;
}

let unique = 0;

/** Requests of the clients whose nearest site is `site`, spread evenly over time and networks. */
function drive(world: World, site: "fra" | "nyc", second: number): Traffic {
  const agent = new Agent({ connections: 64, pipelining: 1 });
  const answers = new Map<number, { address: string; untilMs: number }>();
  const { dns } = world.edge(site);
  const underway = new Set<Promise<void>>();
  let seen: Seen[] = [];
  let perSecond = 1;
  const stopped = new AbortController();

  async function addressFor(network: number): Promise<string> {
    const known = answers.get(network);
    if (known !== undefined && known.untilMs > performance.now()) return known.address;
    const { addresses, answer } = await ask(dns, host, { subnet: `100.${second}.${network}.0/24`, timeoutMs: 5000 });
    const address = addresses[0];
    assert.ok(address !== undefined, "DNS names somebody");
    const ttlsSeconds = (answer.answers ?? []).flatMap((record) => (record.type === "A" ? [record.ttl ?? 0] : []));
    answers.set(network, { address, untilMs: performance.now() + Math.min(...ttlsSeconds) * 1000 });
    return address;
  }

  async function one(number: number): Promise<void> {
    const address = await addressFor(number % networks);
    const isMiss = number % missEvery === 0;
    const width = isMiss ? 16 + (unique += 1) : 16 + (number % fixedVariants);
    const path = `/rush.jpg?w=${width}${isMiss ? "&q=60" : ""}`;
    const startMs = performance.now();
    const answer = await request(`http://${address}:8080${path}`, { dispatcher: agent, headers: { host } });
    await answer.body.dump();
    const cacheStatus = String(answer.headers["cache-status"]);
    seen.push({ status: answer.statusCode, cacheStatus, ms: performance.now() - startMs });
  }

  const running = (async () => {
    for (let number = 0; !stopped.signal.aborted; number++) {
      const work = one(number).finally(() => underway.delete(work));
      underway.add(work);
      await pause(1000 / perSecond);
    }
    await Promise.all(underway);
    await agent.destroy();
  })();
  return {
    setRate(next) {
      perSecond = next;
    },
    take() {
      const taken = seen;
      seen = [];
      return taken;
    },
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

async function keptShare(world: World, site: string): Promise<number> {
  const { sites } = (await world.edge("nyc").status()) as { sites: { name: string; keptShare: number }[] };
  return sites.find(({ name }) => name === site)?.keptShare ?? Number.NaN;
}

function tell(t: TestContext, what: string, seen: readonly Seen[]): void {
  const kinds = Map.groupBy(seen, ({ cacheStatus }) =>
    cacheStatus.includes("detail=spill") ? "handed on" : cacheStatus.includes("; hit;") ? "hits" : "rendered here",
  );
  for (const [kind, group] of [["all", seen] as const, ...kinds]) {
    const times = group.map(({ ms }) => ms).toSorted((a, b) => a - b);
    const at = (part: number): string => (times[Math.floor(part * (times.length - 1))] ?? 0).toFixed(1);
    t.diagnostic(`${what}, ${kind}: ${group.length} requests, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
  }
}

function assertServed(seen: readonly Seen[]): void {
  const bad = seen.filter(({ status }) => status !== 200).map(({ status }) => status);
  assert.deepEqual(bad, [], "every request is answered with a picture");
}

test("a full site sheds clients and hands misses on, without a failure, and takes them back", async (t) => {
  const world = await startWorld(t, ["fra", "nyc"], {
    hasPeers: true,
    siteOf: (site) => ({ capacity: { requestsPerSecond: site === "fra" ? 60 : 200 } }),
    fleet: {
      steering: [
        {
          name: host,
          policy: "geo",
          ttlSeconds: 10,
          overrides: [
            { cidr: "100.64.0.0/16", site: "fra" },
            { cidr: "100.65.0.0/16", site: "nyc" },
          ],
        },
      ],
    },
  });
  const background = { r: 20, g: 90, b: 160 };
  const picture = await sharp({ create: { width: 400, height: 300, channels: 3, background } })
    .jpeg()
    .toBuffer();
  await world.api("PUT", "/images/rush.jpg", picture);

  const far = drive(world, "nyc", 65);
  const near = drive(world, "fra", 64);
  t.after(async () => {
    await Promise.allSettled([near.stop(), far.stop()]);
  });
  far.setRate(20);
  near.setRate(40);
  await pause(12_000);
  near.take(); // the first variants
  await pause(12_000);
  const calm = near.take();
  assertServed(calm);
  assert.equal(await keptShare(world, "fra"), 1);
  tell(t, "fra's clients at 40/s", calm);

  near.setRate(90);
  let keptLeast = 1;
  for (let second = 0; second < 32; second++) {
    await pause(1000);
    keptLeast = Math.min(keptLeast, await keptShare(world, "fra"));
  }
  const rush = near.take();
  assertServed(rush);
  tell(t, "fra's clients at 90/s", rush);
  assert.ok(keptLeast < 0.95, `fra sheds: it keeps ${keptLeast}`);
  const spilled = rush.filter(({ cacheStatus }) => cacheStatus.includes("detail=spill")).length;
  t.diagnostic(`${spilled} misses were handed to nyc; fra kept ${keptLeast} of its clients`);
  assert.ok(spilled > 0, "some misses are handed to the other site, and Cache-Status says so");
  assert.ok(
    rush.every(({ cacheStatus }) => !cacheStatus.includes("detail=spill") || cacheStatus.startsWith("nyc1; ")),
    "the site that did the work is named first",
  );

  near.setRate(30);
  const fellMs = performance.now();
  while ((await keptShare(world, "fra")) < 1) {
    assert.ok(
      performance.now() - fellMs < 90_000,
      `after a minute and a half it keeps ${await keptShare(world, "fra")}`,
    );
    await pause(500);
  }
  t.diagnostic(`all clients are back ${((performance.now() - fellMs) / 1000).toFixed(0)} s after the rush`);
  assertServed(near.take());
  await near.stop();
  await far.stop();
  assertServed(far.take());
});

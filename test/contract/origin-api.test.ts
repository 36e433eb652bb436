/**
 * The edge and the origin meet only over HTTP. Here the edge's own client, follower and purge reader speak to the real
 * origin, so that neither side can change what they agreed on alone.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { seededRandom } from "#base/random.ts";
import { type FeedEvent, type FeedPosition, followFeed } from "#follow/feed.ts";
import { readPurgeEvent } from "#purge/purge-event.ts";
import { emptyRoster, type Roster, rosterEventKind } from "#document/roster.ts";
import { openDecoderPool } from "#image/pool.ts";
import { stringify } from "yaml";
import { openOriginClient } from "../../node/fetch/origin.ts";
import { followRoster } from "../../node/fetch/roster.ts";
import { loadOriginConfig } from "../../origin/config.ts";
import { startOrigin } from "../../origin/start.ts";
import { fleetValue } from "../support/fleet.ts";
import { photograph } from "../support/pictures.ts";
import { until } from "../support/world.ts";
import { fixedToken } from "../support/fixed-token.ts";

const most = { bytesMax: 10_000_000, timeoutMs: 20_000, client: "192.0.2.0/24" };

async function startBoth(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-contract-"));
  const inspector = openDecoderPool({ size: 1, clock: systemClock, log: silentLog });
  const config = await loadOriginConfig({
    file: undefined,
    environment: {},
    flags: { dataDir: directory, host: "127.0.0.1", port: 0 },
  });
  const origin = await startOrigin(config, { clock: systemClock, log: silentLog, inspector });
  const token = (await readFile(origin.tokenFiles.edge, "utf8")).trim();
  const writer = (await readFile(origin.tokenFiles.writer, "utf8")).trim();
  const deps = { clock: systemClock, random: seededRandom(1) };
  const client = openOriginClient({ url: origin.url, token: fixedToken(token), ...deps });
  t.after(async () => {
    await client.close();
    await origin.close();
    await inspector.close();
    await rm(directory, { recursive: true });
  });
  const write = async (method: string, path: string, body?: Buffer | object): Promise<void> => {
    const answer = await fetch(`${origin.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${writer}`,
        ...(body === undefined ? {} : { "content-type": Buffer.isBuffer(body) ? "image/jpeg" : "application/json" }),
      },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? body : JSON.stringify(body) }),
    });
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
  };
  return { client, write, deps };
}

const hashOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

test("a source by name: its bytes, or that it is one of those already known, or that there is none", async (t) => {
  const { client, write } = await startBoth(t);
  const [first, second] = [await photograph(1), await photograph(2)];
  await write("PUT", "/images/a%20b/%C3%BC.jpg", first);
  const name = "a b/ü.jpg";
  const found = await client.source(name, [], most);
  assert.equal(found.outcome, "found");
  assert.deepEqual(found.outcome === "found" && found.body, first);
  const picture = { type: "jpeg", width: 800, height: 533, frames: 1, hasAlpha: false, scans: 1 };
  assert.deepEqual(found.outcome === "found" && found.picture, picture);
  const unchanged = await client.source(name, ["0".repeat(64), hashOf(first)], most);
  assert.deepEqual(unchanged, { outcome: "known", sha256: hashOf(first), picture });
  await write("PUT", "/images/a%20b/%C3%BC.jpg", second);
  const replaced = await client.source(name, [hashOf(first)], most);
  assert.equal(replaced.outcome === "found" && replaced.sha256, hashOf(second));
  await write("POST", "/rollbacks", { name });
  const rolledBack = await client.source(name, [hashOf(second), hashOf(first)], most);
  assert.deepEqual(rolledBack, { outcome: "known", sha256: hashOf(first), picture });
  await write("DELETE", "/images/a%20b/%C3%BC.jpg");
  assert.deepEqual(await client.source(name, [hashOf(first)], most), { outcome: "absent", status: 410 });
  assert.deepEqual(await client.source("never", [], most), { outcome: "absent", status: 404 });
  await assert.rejects(client.source(name.repeat(200), [], most), { code: "ORIGIN_BAD_ANSWER" });
});

test("the feed: hello, then every change as an event that the edge can read, replayed from any position", async (t) => {
  const { client, write, deps } = await startBoth(t);
  const follow = (position: FeedPosition | null) => {
    const seen: FeedEvent[] = [];
    const resets: string[] = [];
    const follower = followFeed({
      open: client.feed,
      position,
      save: async () => undefined,
      apply: async (event) => {
        seen.push(event);
      },
      reset: async (reason) => {
        resets.push(reason);
      },
      log: silentLog,
      ...deps,
    });
    t.after(() => follower.close());
    return { seen, resets, follower };
  };
  await write("PUT", "/images/before.jpg", await photograph(1));
  const live = follow(null);
  await live.follower.firstContact;
  assert.equal(live.follower.state(), "live");
  assert.equal(live.resets.length, 1, "an edge without a position drops what it has");
  const start = live.follower.position();

  await write("PUT", "/images/a.jpg", await photograph(2));
  await write("PUT", "/images/a.jpg", await photograph(3));
  await write("POST", "/rollbacks", { name: "a.jpg" });
  await write("DELETE", "/images/a.jpg");
  await write("POST", "/purges", { prefix: "shop/", hosts: ["img.cdn.test"], tags: ["red"], soft: true });
  await until("all events are here", async () => live.seen.length >= 5);
  const purges = live.seen.map((event) => readPurgeEvent(event.data));
  assert.deepEqual(purges.map((purge) => purge.reason).slice(-4), ["put", "rollback", "delete", "purge"]);
  assert.deepEqual(purges.at(-2)?.names, ["a.jpg"]);
  const { prefix, hosts, tags, soft, all } = purges.at(-1) ?? {};
  assert.deepEqual(
    { prefix, hosts, tags, soft, all },
    { prefix: "shop/", hosts: ["img.cdn.test"], tags: ["red"], soft: true, all: false },
  );

  const replay = follow(start);
  await until("the replay is live", async () => replay.follower.state() === "live");
  assert.deepEqual(replay.seen, live.seen);
  assert.deepEqual(replay.resets, []);

  const stranger = follow({ originId: "another origin", seq: 1 });
  await until("the stranger is live", async () => stranger.follower.state() === "live");
  assert.equal(stranger.resets.length, 1);
});

test("the fleet document: none is an origin's failure, the published one comes with its version", async (t) => {
  const { client, write } = await startBoth(t);
  await assert.rejects(client.fleet(), { code: "ORIGIN_BAD_ANSWER" });
  const text = [
    "zones: [{name: cdn.test, nameservers: [{name: ns1}]}]",
    "sites:",
    "  - {name: fra, place: {latitude: 1, longitude: 2}, addresses: [192.0.2.1],",
    "     nodes: [{name: fra1, http: 'http://192.0.2.1'}]}",
    "hosts: [{name: img.cdn.test, kind: images}]",
  ].join("\n");
  await write("PUT", "/fleet", Buffer.from(text));
  assert.deepEqual(await client.fleet(), { version: 1, text });
});

test("the roster: empty at first, then what joined and what is drained, and an event for each change", async (t) => {
  const { client, write, deps } = await startBoth(t);
  const known: Roster[] = [];
  const roster = followRoster({
    known: null,
    ask: client.roster,
    store: async () => undefined,
    changed: (one) => known.push(one),
    clock: deps.clock,
    log: silentLog,
  });
  assert.deepEqual(await client.roster(), emptyRoster);
  const follower = followFeed({
    async open(since, signal) {
      const stream = await client.feed(since, signal);
      roster.refresh();
      return stream;
    },
    position: null,
    save: async () => undefined,
    async apply({ kind, data }) {
      if (kind === rosterEventKind) await roster.take(data);
    },
    reset: async () => undefined,
    log: silentLog,
    ...deps,
  });
  t.after(async () => {
    roster.close();
    await follower.close();
  });
  await follower.firstContact;
  await write("PUT", "/fleet", Buffer.from(stringify(fleetValue())));
  const joined = { name: "fra2", site: "fra", http: "http://10.0.0.2", addresses: ["10.0.0.2", "2001:db8::2"] };
  await write("POST", "/nodes", { ...joined, peer: { host: "10.0.0.2" } });
  await write("PUT", "/nodes/nyc1/draining");
  const nodes = [{ ...joined, peer: { host: "10.0.0.2", port: 8082 } }];
  await until("the edge has it", async () => roster.roster().revision === 2);
  assert.deepEqual(roster.roster(), { revision: 2, nodes, draining: ["nyc1"] });
  await write("DELETE", "/nodes/fra2");
  await write("DELETE", "/nodes/nyc1/draining");
  await until("the edge has that, too", async () => roster.roster().revision === 4);
  assert.deepEqual(roster.roster(), { revision: 4, nodes: [], draining: [] });
  assert.deepEqual(
    known.map(({ revision }) => revision),
    known.map(({ revision }) => revision).toSorted((one, other) => one - other),
  );
});

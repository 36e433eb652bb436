/**
 * A fleet while it is upgraded: this release and the one before (0.1.0) side by side, as origin, as edges of one site,
 * over the feed, the peer channel and health probes.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { olderRelease, release010 } from "../support/older-release.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until, type World, type WorldEdge } from "../support/world.ts";

interface PurgeFacts {
  isSettled: boolean;
  anonymous: number;
  nodes: { node: string; state: string }[];
}

const names = Array.from({ length: 8 }, (_, index) => `p${index}.jpg`);

/** Fetches every picture from a node; gives how it came, by Cache-Status. */
async function fetchAll(edge: WorldEdge): Promise<string[]> {
  const ways: string[] = [];
  for (const name of names) {
    const answer = await fetch(`${edge.url}/${name}?w=64&fm=webp`);
    assert.equal(answer.status, 200, `${edge.name} ${name}: ${await answer.text()}`);
    ways.push(answer.headers.get("cache-status") ?? "");
  }
  return ways;
}

async function sumOf(world: World, metric: string): Promise<number> {
  const all = await Promise.all(world.edges.map((edge) => edge.metrics()));
  return all.reduce((sum, metrics) => sum + (metrics.get(metric) ?? 0), 0);
}

async function seesAllUp(edge: WorldEdge, count: number): Promise<boolean> {
  const { sites } = (await edge.status()) as { sites: { nodes: { state: string }[] }[] };
  const states = sites.flatMap(({ nodes }) => nodes.map(({ state }) => state));
  return states.length === count && states.every((state) => state === "up");
}

function isMisunderstood(edge: WorldEdge): boolean {
  // In the words of this release and of the ones before.
  const said = /of a kind that this (release|version) does not know|is malformed|bug in nearcast|fault in this program/;
  return said.test(edge.program().log());
}

test("an origin of this release, with an edge of the release before and one of this in one site", async (t) => {
  const older = await olderRelease(t, release010);
  if (older === undefined) return;
  const world = await startWorld(t, ["fra"], {
    nodesPerSite: 2,
    releaseOf: (program) => (program === "fra1" ? older : undefined),
  });
  const [old, fresh] = world.edges;
  assert.ok(old !== undefined && fresh !== undefined);
  for (const [index, name] of names.entries()) await world.api("PUT", `/images/${name}`, await photograph(index));

  await t.test("each finds the other up", async () => {
    await until("the old one sees both up", async () => await seesAllUp(old, 2));
    await until("the new one sees both up", async () => await seesAllUp(fresh, 2));
  });

  await t.test(
    "they are one cache: each asks the other for what it owns, and the origin gives each picture once",
    async () => {
      const [byOld, byNew] = [await fetchAll(old), await fetchAll(fresh)];
      assert.equal(await sumOf(world, "nearcast_origin_fetches_total"), names.length);
      assert.equal(await sumOf(world, "nearcast_renders_total"), names.length);
      assert.ok(
        byOld.some((way) => way.includes("fra2")),
        `the old one asked the new one: ${byOld.join(" | ")}`,
      );
      assert.ok(
        byNew.some((way) => way.includes("fra1")),
        `the new one asked the old one: ${byNew.join(" | ")}`,
      );
    },
  );

  await t.test("a purge is in force on both; the new one reports, the old one is counted", async () => {
    const { seq } = (await (await world.api("POST", "/purges", { all: true })).json()) as { seq: number };
    const state = (await (await world.api("GET", `/purges/${seq}?waitMs=10000`)).json()) as PurgeFacts;
    assert.deepEqual([state.isSettled, state.anonymous], [true, 1]);
    assert.deepEqual(
      state.nodes.map(({ node, state: one }) => `${node} ${one}`),
      ["fra2 done", "fra1 away"],
    );
    await until("the old one has it", async () => {
      const { feed } = (await old.status()) as { feed: { position: { seq: number } } };
      return feed.position.seq >= seq;
    });
    await fetchAll(old);
    await fetchAll(fresh);
    assert.equal(await sumOf(world, "nearcast_origin_fetches_total"), 2 * names.length);
  });

  await t.test("only the new one is asked, and the old one hears of nothing that it does not know", async () => {
    const answer = await world.api("POST", "/nodes/questions", { question: { kind: "status" } });
    const { answers } = (await answer.json()) as { answers: { node: string; outcome: string; reason?: string }[] };
    assert.deepEqual(
      answers.map(({ node, outcome }) => `${node} ${outcome}`),
      ["fra2 answered", "fra1 away"],
    );
    assert.match(answers[1]?.reason ?? "", /its release can't answer questions/);
    assert.equal(isMisunderstood(old), false, old.program().log());
    assert.equal(isMisunderstood(fresh), false, fresh.program().log());
  });

  await t.test("a new fleet document and a rotated fleet secret reach both, and they stay one site", async () => {
    await world.api("POST", "/fleet/secret/rotations");
    await world.api("PUT", "/fleet", { ...world.fleet(), presets: { small: { w: 64 } } });
    await until("both have it", async () => {
      const statuses = await Promise.all(world.edges.map((edge) => edge.status()));
      return statuses.every(({ fleetVersion }) => fleetVersion === 2);
    });
    assert.equal((await fetch(`${old.url}/p0.jpg?preset=small`)).status, 200);
    assert.equal((await fetch(`${fresh.url}/p0.jpg?preset=small`)).status, 200);
    await until("both see both up", async () => (await seesAllUp(old, 2)) && (await seesAllUp(fresh, 2)));
  });
});

test("an edge of this release follows an origin of the release before", async (t) => {
  const older = await olderRelease(t, release010);
  if (older === undefined) return;
  const world = await startWorld(t, ["fra"], { releaseOf: (program) => (program === "origin" ? older : undefined) });
  const edge = world.edge("fra");
  for (const [index, name] of names.entries()) await world.api("PUT", `/images/${name}`, await photograph(index));
  await fetchAll(edge);
  assert.ok((await fetchAll(edge)).every((way) => way.includes("hit")));

  await world.api("POST", "/purges", { names: ["p0.jpg"] });
  await until("the purge is in force", async () => {
    const answer = await fetch(`${edge.url}/p0.jpg?w=64&fm=webp`);
    return !(answer.headers.get("cache-status") ?? "").includes("hit");
  });
  await world.api("POST", "/fleet/secret/rotations");
  const status = await edge.status();
  assert.equal(status["ready"], true, JSON.stringify(status["unready"]));
  assert.equal((status["feed"] as { state: string }).state, "live");
  assert.equal(isMisunderstood(edge), false, edge.program().log());
  assert.doesNotMatch(edge.program().log(), /the feed broke off|lost the feed|refuses to hear|refused this node/);
});

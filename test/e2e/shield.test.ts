/** Three sites, one of which stands before the origin: real edges, seen from outside. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { photograph } from "../support/pictures.ts";
import { startWorld, until, type WorldEdge } from "../support/world.ts";

test("behind a shield the origin gives each picture once to the whole fleet, else to each site", async (t) => {
  const world = await startWorld(t, ["fra", "nyc", "tyo"], { hasPeers: true, fleet: { shield: "fra" } });
  const { edges } = world;
  await until("all see each other", async () => {
    const all = await Promise.all(edges.map(async (edge) => await edge.status()));
    return all.every(({ sites }) => (sites as { state: string }[]).every(({ state }) => state === "up"));
  });
  const fetches = async (): Promise<number[]> =>
    await Promise.all(edges.map(async (edge) => (await edge.metrics()).get("nearcast_origin_fetches_total") ?? 0));
  const get = async (edge: WorldEdge, path: string): Promise<string> => {
    const answer = await fetch(`${edge.url}/${path}`);
    assert.equal(answer.status, 200, path);
    await answer.arrayBuffer();
    return answer.headers.get("cache-status") ?? "";
  };

  await t.test("ten pictures asked for at the two other sites, in three sizes, at once", async () => {
    for (let n = 0; n < 10; n++) await world.api("PUT", `/images/s${n}.jpg`, await photograph(n));
    const widths = [40, 50, 60];
    const others = [world.edge("nyc"), world.edge("tyo")];
    const said = await Promise.all(
      others.flatMap((edge) =>
        Array.from({ length: 10 }, async (_, n) => {
          const statuses = await Promise.all(widths.map((width) => get(edge, `s${n}.jpg?w=${width}&fm=webp`)));
          return statuses.join("\n");
        }),
      ),
    );
    assert.deepEqual(await fetches(), [10, 0, 0], "fra alone asked the origin, once for each");
    // A size that is asked for when its site has the source already is made there, and says no more.
    for (const statuses of said) assert.match(statuses, /detail=shield-/);
  });

  await t.test("a new version and a deletion go the same way", async () => {
    await world.api("PUT", "/images/s0.jpg", await photograph(77));
    await until("everybody has the new one", async () => {
      const said = await Promise.all(
        edges.map(async (edge) => (await fetch(`${edge.url}/s0.jpg?w=40&fm=webp`)).headers.get("etag")),
      );
      return new Set(said).size === 1 && (await fetches())[0] === 11;
    });
    assert.deepEqual((await fetches()).slice(1), [0, 0]);
    await world.api("DELETE", "/images/s0.jpg");
    await until("gone everywhere", async () => {
      const answers = await Promise.all(edges.map(async (edge) => await fetch(`${edge.url}/s0.jpg?w=40&fm=webp`)));
      return answers.every(({ status }) => status === 404);
    });
  });

  await t.test("the shield is killed: the others ask the origin themselves", async () => {
    await world.edge("fra").program().kill();
    await world.api("PUT", "/images/late.jpg", await photograph(5));
    for (const site of ["nyc", "tyo"] as const) await get(world.edge(site), "late.jpg?w=40&fm=webp");
    const metrics = await Promise.all((["nyc", "tyo"] as const).map(async (site) => await world.edge(site).metrics()));
    assert.deepEqual(
      metrics.map((each) => each.get("nearcast_origin_fetches_total")),
      [1, 1],
    );
  });
});

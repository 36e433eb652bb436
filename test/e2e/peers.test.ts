/** Three edges of one site and their origin, in processes of their own: one cache from outside. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

test("the nodes of a site are one cache, also while one of them is killed", async (t) => {
  const world = await startWorld(t, ["fra"], { nodesPerSite: 3 });
  const { edges } = world;
  const names = Array.from({ length: 12 }, (_, index) => `p${index}.jpg`);
  await Promise.all(
    names.map(async (name, index) => await world.api("PUT", `/images/${name}`, await photograph(index))),
  );
  await until("all know each other", async () => {
    const all = await Promise.all(edges.map(async (edge) => await edge.status()));
    return all.every((status) => JSON.stringify(status["sites"]).split('"up"').length > 3);
  });
  /**
   * Until every edge has applied the events of all uploads. One that is applied after a picture's first request would
   * make an edge ask for it again. Events are applied in order: the purge is the last one.
   */
  const allAreUpToDate = async (): Promise<void> => {
    const { seq } = (await (await world.api("POST", "/purges", { names: ["none.jpg"] })).json()) as { seq: number };
    await until("all have applied the uploads", async () => {
      const all = await Promise.all(edges.map(async (edge) => await edge.status()));
      return all.every(({ feed }) => ((feed as { position: { seq: number } | null }).position?.seq ?? 0) >= seq);
    });
  };
  await allAreUpToDate();
  const total = async (name: string): Promise<number> => {
    const all = await Promise.all(edges.map(async (edge) => (await edge.metrics()).get(name) ?? 0));
    return all.reduce((sum, one) => sum + one, 0);
  };
  const get = async (edge: (typeof edges)[number], name: string): Promise<{ etag: string | null; status: string }> => {
    const answer = await fetch(`${edge.url}/${name}?w=100&fm=webp`);
    assert.equal(answer.status, 200);
    await answer.arrayBuffer();
    return { etag: answer.headers.get("etag"), status: answer.headers.get("cache-status") ?? "" };
  };

  await t.test("each picture is fetched once and rendered once, whomever clients ask", async () => {
    for (const name of names) {
      const answers = await Promise.all(edges.flatMap((edge) => [get(edge, name), get(edge, name)]));
      assert.equal(new Set(answers.map(({ etag }) => etag)).size, 1);
      // Two of the three had it from the third, and say so, the one nearer to the origin first.
      const owners = answers.filter(({ status }) => /^fra\d; .*, fra\d; fwd=uri-miss; .*detail=owner$/.test(status));
      assert.ok(owners.length >= 2, JSON.stringify(answers));
    }
    assert.deepEqual([await total("nearcast_origin_fetches_total"), await total("nearcast_renders_total")], [12, 12]);
    for (const name of names)
      for (const edge of edges) assert.match((await get(edge, name)).status, /^fra\d; hit; [^,]*$/);
  });

  await t.test("a deletion is in force on all of them, whoever hears of it first", async () => {
    await world.api("DELETE", `/images/${names[0]}`);
    await until("all have heard", async () => {
      const answers = await Promise.all(
        edges.map(async (edge) => await fetch(`${edge.url}/${names[0]}?w=100&fm=webp`)),
      );
      await Promise.all(answers.map(async (answer) => await answer.arrayBuffer()));
      return answers.every(({ status }) => status === 404);
    });
    for (const edge of edges) assert.equal((await fetch(`${edge.url}/${names[0]}?w=100&fm=webp`)).status, 404);
  });

  await t.test("one is killed: the others answer everything", async () => {
    const [dead, ...rest] = edges;
    assert.ok(dead !== undefined);
    const late = Array.from({ length: 12 }, (_, index) => `q${index}.jpg`);
    await Promise.all(
      late.map(async (name, index) => await world.api("PUT", `/images/${name}`, await photograph(50 + index))),
    );
    await allAreUpToDate();
    const asked = late.flatMap((name) => rest.map(async (edge) => await get(edge, name)));
    await dead.program().kill("SIGKILL");
    await Promise.all(asked);
    for (const name of late) for (const edge of rest) assert.match((await get(edge, name)).status, /^fra\d; hit; /);
  });
});

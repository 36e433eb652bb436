/** What survives: `kill -9` of the edge in the midst of load, the origin gone, purges missed while it was dead. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

const widths = [60, 80, 100, 120];
const names = Array.from({ length: 6 }, (_, index) => `load/${index}.jpg`);

test("kill -9 in the middle of load loses no byte, and the disk is warm at once", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const edge = world.edge("fra");
  await Promise.all(
    names.map(async (name, index) => await world.api("PUT", `/images/${name}`, await photograph(index))),
  );
  const urls = names.flatMap((name) => widths.map((width) => `${edge.url}/${name}?w=${width}&fm=webp`));
  const known = new Map<string, string>();
  let wrong = 0;
  let answered = 0;
  const get = async (url: string): Promise<Response> => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(20_000) });
    const hash = createHash("sha256")
      .update(Buffer.from(await answer.arrayBuffer()))
      .digest("hex");
    if (answer.status === 200) {
      answered += 1;
      if ((known.get(url) ?? hash) !== hash) wrong += 1;
      known.set(url, hash);
    }
    return answer;
  };
  await Promise.all(urls.map(get));
  assert.equal(known.size, urls.length);

  const ending = new AbortController();
  const load = Array.from({ length: 8 }, async (_, worker) => {
    for (let index = worker; !ending.signal.aborted; index += 7) {
      // New sizes all the while, so that writes to the disk are under way when the process is killed.
      const url =
        index % 3 === 0 ? `${edge.url}/${names[0]}?w=${200 + (index % 400)}&fm=jpg` : (urls[index % urls.length] ?? "");
      await get(url).catch(() => undefined); // refused while it is dead
    }
  });
  for (let round = 0; round < 3; round += 1) {
    const before = answered;
    await until("there is load", async () => answered > before + 100);
    await edge.program().kill("SIGKILL");
    await edge.start();
  }
  ending.abort();
  await Promise.all(load);
  assert.equal(wrong, 0);

  await t.test("disk hits at once after the restart", async () => {
    await edge.program().kill("SIGKILL");
    await edge.start();
    const answers = await Promise.all(urls.map(get));
    const statuses = answers.map((answer) => answer.headers.get("cache-status") ?? "");
    assert.deepEqual(
      statuses.filter((status) => !status.includes("; hit;")),
      [],
    );
    assert.equal(wrong, 0);
    const metrics = await edge.metrics();
    assert.equal(metrics.get("nearcast_origin_fetches_total"), 0);
    assert.equal(metrics.get("nearcast_renders_total"), 0);
    assert.equal(metrics.get("nearcast_cache_disk_corrupt_total"), 0);
  });

  await t.test("a purge that was missed while dead is applied before anything is served from disk", async () => {
    await edge.program().kill("SIGKILL");
    await world.api("PUT", `/images/${names[0]}`, await photograph(77));
    await world.api("DELETE", `/images/${names[1]}`);
    await edge.start();
    const replaced = await fetch(`${edge.url}/${names[0]}?w=100&fm=webp`);
    const hash = createHash("sha256")
      .update(Buffer.from(await replaced.arrayBuffer()))
      .digest("hex");
    assert.equal(replaced.status, 200);
    assert.notEqual(hash, known.get(`${edge.url}/${names[0]}?w=100&fm=webp`));
    assert.equal((await fetch(`${edge.url}/${names[1]}?w=100&fm=webp`)).status, 404);
  });

  await t.test(
    "with the origin gone, also from the start, all that is cached is served and DNS is unmoved",
    async () => {
      await world.originProgram().kill("SIGKILL");
      await edge.program().kill("SIGKILL");
      await edge.start();
      const cached = urls.filter((url) => !url.includes(names[0] ?? "") && !url.includes(names[1] ?? ""));
      const answers = await Promise.all(cached.map(get));
      assert.deepEqual(
        answers.filter((answer) => answer.status !== 200),
        [],
      );
      assert.equal(wrong, 0);
      assert.notEqual(
        (await fetch(`${edge.url}/${names[1]}?w=100&fm=webp`)).status,
        200,
        "what was deleted stays away",
      );
      const unknown = await fetch(`${edge.url}/never/asked.jpg?w=100`);
      assert.equal(unknown.status, 502);
      assert.equal(((await unknown.json()) as { code: string }).code, "ORIGIN_UNREACHABLE");
      assert.deepEqual((await ask(edge.dns, "img.cdn.test")).addresses, [edge.address]);
    },
  );

  await t.test("when the origin is back, what it says holds again", async () => {
    await world.startOrigin();
    await world.api("PUT", `/images/${names[2]}`, await photograph(78));
    const url = `${edge.url}/${names[2]}?w=100&fm=webp`;
    await until("the new version is served", async () => {
      const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
      return createHash("sha256").update(bytes).digest("hex") !== known.get(url);
    });
  });
});

test("past its lifetime a picture is served stale while the origin is away, and then revalidated", async (t) => {
  const world = await startWorld(t, ["fra"], {
    imagesHost: { freshSeconds: 1, staleWhileRevalidateSeconds: 1, staleIfErrorSeconds: 3600 },
  });
  const edge = world.edge("fra");
  const heard = async (): Promise<number> =>
    ((await edge.status()) as { feed: { position: { seq: number } } }).feed.position.seq;
  const before = await heard();
  await world.api("PUT", "/images/a.jpg", await photograph(1));
  // The event of a new name drops what is kept under it; only what is kept after that can be served stale.
  await until("the edge has heard of it", async () => (await heard()) > before);
  const url = `${edge.url}/a.jpg?w=100`;
  const status = async (): Promise<string> => (await fetch(url)).headers.get("cache-status") ?? "";
  assert.match(await status(), /fwd=uri-miss/);
  await world.originProgram().kill("SIGKILL");
  const seen = new Set<string>();
  const isStale = async (): Promise<boolean> => {
    const told = await status().catch((error: unknown) => String(error));
    seen.add(told);
    return told.includes("origin-error");
  };
  await until("it is stale for the origin's failure", isStale, edge.program()).catch((error: unknown) => {
    throw new Error(`${[...seen].join("\n")}\n${(error as Error).message}`);
  });
  assert.match(await status(), /^fra1; fwd=stale; ttl=-\d+; detail=memory-origin-error$/);
  await world.startOrigin();
  await until("it is validated again", async () => /validated|hit; ttl=1/.test(await status()));
  const renders = (await edge.metrics()).get("nearcast_renders_total");
  assert.equal(renders, 1, "revalidation of an unchanged source renders nothing");
});

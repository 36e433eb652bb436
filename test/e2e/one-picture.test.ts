/** The main job, from outside: upload a photograph, ask DNS where to get it, get it resized, fast the second time. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import sharp from "sharp";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

test("one picture, end to end", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const edge = world.edge("fra");
  const original = await photograph(1);
  await world.api("PUT", "/images/trips/alps.jpg", original);

  await t.test("DNS names the edge's address", async () => {
    const { rcode, addresses } = await ask(edge.dns, "img.cdn.test");
    assert.equal(rcode, "NOERROR");
    assert.deepEqual(addresses, [edge.address]);
  });

  const formats = [
    ["image/avif,image/webp,*/*", "image/avif", "heif"],
    ["image/webp,*/*", "image/webp", "webp"],
    ["*/*", "image/jpeg", "jpeg"],
  ] as const;
  for (const [accept, type, format] of formats) {
    await t.test(`Accept: ${accept} gets ${type}, and a hit the second time`, async () => {
      const url = `${edge.url}/trips/alps.jpg?w=200&auto=format`;
      const first = await fetch(url, { headers: { accept } });
      assert.equal(first.status, 200);
      assert.equal(first.headers.get("content-type"), type);
      assert.equal(first.headers.get("vary"), "Accept");
      assert.match(first.headers.get("cache-status") ?? "", /^fra1; fwd=uri-miss; stored/);
      const picture = Buffer.from(await first.arrayBuffer());
      const facts = await sharp(picture).metadata();
      assert.deepEqual([facts.format, facts.width, facts.height], [format, 200, 133]);
      const second = await fetch(url, { headers: { accept } });
      assert.match(second.headers.get("cache-status") ?? "", /^fra1; hit; ttl=\d+; detail=memory$/);
      assert.deepEqual(Buffer.from(await second.arrayBuffer()), picture);
      assert.equal(second.headers.get("etag"), first.headers.get("etag"));
      assert.match(second.headers.get("age") ?? "", /^\d+$/);
    });
  }

  await t.test("200 concurrent first requests cost one fetch and one render", async () => {
    await world.api("PUT", "/images/crowd.jpg", await photograph(2));
    const before = await edge.metrics();
    const answers = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const answer = await fetch(`${edge.url}/crowd.jpg?w=150&fm=webp`);
        assert.equal(answer.status, 200);
        return createHash("sha256")
          .update(Buffer.from(await answer.arrayBuffer()))
          .digest("hex");
      }),
    );
    const after = await edge.metrics();
    const grown = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
    assert.equal(new Set(answers).size, 1);
    assert.equal(grown("nearcast_origin_fetches_total"), 1);
    assert.equal(grown("nearcast_origin_requests_total"), 1);
    assert.equal(grown("nearcast_renders_total"), 1);
  });

  await t.test(
    "a new version reaches every size, and a rollback brings the old bytes back without a render",
    async () => {
      const bytesOf = async (width: number): Promise<string> => {
        const answer = await fetch(`${edge.url}/trips/alps.jpg?w=${width}&fm=webp`);
        assert.equal(answer.status, 200);
        return createHash("sha256")
          .update(Buffer.from(await answer.arrayBuffer()))
          .digest("hex");
      };
      const widths = [100, 200, 300];
      const old = await Promise.all(widths.map(bytesOf));
      await world.api("PUT", "/images/trips/alps.jpg", await photograph(3));
      await until("every size is new", async () => {
        const now = await Promise.all(widths.map(bytesOf));
        return now.every((bytes, index) => bytes !== old[index]);
      });
      const renders = (await edge.metrics()).get("nearcast_renders_total");
      await world.api("POST", "/rollbacks", { name: "trips/alps.jpg" });
      await until("every size is old again", async () => {
        const now = await Promise.all(widths.map(bytesOf));
        return now.every((bytes, index) => bytes === old[index]);
      });
      assert.equal((await edge.metrics()).get("nearcast_renders_total"), renders);
    },
  );

  await t.test("a deleted picture is gone", async () => {
    const url = `${edge.url}/crowd.jpg?w=150&fm=webp`;
    assert.equal((await fetch(url)).status, 200);
    await world.api("DELETE", "/images/crowd.jpg");
    await until("it is gone", async () => (await fetch(url)).status === 404);
  });
});

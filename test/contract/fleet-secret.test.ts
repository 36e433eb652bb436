/**
 * The fleet secret between a real origin and real edges: shared by all, rotated without breaking, kept while the origin
 * is away. What tells is DNS cookies (RFC 9018), which are made from it: a cookie of one edge is good at another.
 */
import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { exchange, optionOf } from "../support/ask.ts";
import { startWorld, until, type World, type WorldEdge } from "../support/world.ts";

const cookieCode = 10;
const clientCookie = Buffer.from("a1b2c3d4e5f60718", "hex");

/** Shows this cookie, and gives the one in the answer. */
async function exchangeCookie(edge: WorldEdge, cookie: Buffer): Promise<Buffer> {
  const answer = await exchange(edge.dns, "img.cdn.test", { options: [{ code: cookieCode, data: cookie }] });
  const fresh = optionOf(answer, cookieCode);
  assert.ok(fresh !== undefined, "the answer has a cookie");
  return fresh;
}

async function counts(edge: WorldEdge): Promise<{ valid: number; invalid: number }> {
  const metrics = await edge.metrics();
  const count = (validity: string): number => metrics.get(`nearcast_dns_cookies_total{validity="${validity}"}`) ?? -1;
  return { valid: count("valid"), invalid: count("invalid") };
}

/** Whether the edge takes this cookie for one of the fleet's, by its own count. */
async function accepts(edge: WorldEdge, cookie: Buffer): Promise<boolean> {
  const before = await counts(edge);
  await exchangeCookie(edge, cookie);
  let after = before;
  // Batch threads publish their counts between batches.
  await until("the cookie was counted", async () => {
    after = await counts(edge);
    return after.valid + after.invalid > before.valid + before.invalid;
  });
  return after.valid > before.valid;
}

async function rotate(world: World): Promise<string> {
  const answer = await world.api("POST", "/fleet/secret/rotations");
  return ((await answer.json()) as { id: string }).id;
}

async function allHave(world: World, id: string): Promise<void> {
  await until("every edge has the new secret", async () => {
    const statuses = await Promise.all(world.edges.map((edge) => edge.status()));
    return statuses.every((status) => status["fleetSecret"] === id);
  });
}

test("the fleet secret", async (t) => {
  const world = await startWorld(t, ["fra", "nyc"]);
  const [fra, nyc] = [world.edge("fra"), world.edge("nyc")];
  const fileOf = (site: string): string => join(world.directory, site, "secret.json");
  let cookie: Buffer = clientCookie;

  await t.test("a cookie of one edge is good at the other, and a forged one at none", async () => {
    cookie = await exchangeCookie(fra, clientCookie);
    assert.equal(cookie.length, 24);
    assert.deepEqual(cookie.subarray(0, 8), clientCookie);
    assert.equal(await accepts(nyc, cookie), true);
    assert.equal(await accepts(fra, cookie), true);
    const forged = Buffer.from(cookie);
    forged[23] = (forged[23] ?? 0) ^ 1;
    assert.equal(await accepts(nyc, forged), false);
  });

  await t.test(
    "it stands on each edge's disk for the owner alone, the same as at the origin, and in no log",
    async () => {
      const atOrigin = await readFile(join(world.directory, "origin", "secrets", "fleet-secret.json"), "utf8");
      const { current } = JSON.parse(atOrigin) as { current: string };
      for (const site of ["fra", "nyc"]) {
        assert.deepEqual(JSON.parse(await readFile(fileOf(site), "utf8")), { current });
        assert.equal((await stat(fileOf(site))).mode & 0o777, 0o600);
      }
      for (const program of [world.originProgram(), fra.program(), nyc.program()]) {
        assert.ok(!program.log().includes(current));
      }
    },
  );

  await t.test("after a rotation every edge makes new cookies, and accepts earlier ones", async () => {
    await allHave(world, await rotate(world));
    assert.equal(await accepts(fra, cookie), true);
    assert.equal(await accepts(nyc, cookie), true);
    const renewed = await exchangeCookie(fra, clientCookie);
    assert.notDeepEqual(renewed, cookie);
    assert.equal(await accepts(nyc, renewed), true);
  });

  await t.test("edges that start while the origin is away know it from their disk", async () => {
    const renewed = await exchangeCookie(fra, clientCookie);
    await world.originProgram().kill("SIGKILL");
    await nyc.program().kill("SIGKILL");
    await nyc.start();
    assert.equal((await nyc.metrics()).get("nearcast_fleet_secret_known"), 1);
    assert.equal(await accepts(nyc, renewed), true);
    await world.startOrigin();
  });

  await t.test(
    "a rotation that an edge missed reaches it when it is back, and the oldest is worth nothing",
    async () => {
      await nyc.program().kill("SIGKILL");
      const id = await rotate(world);
      await nyc.start();
      await allHave(world, id);
      assert.equal(await accepts(fra, cookie), false);
      assert.equal(await accepts(nyc, cookie), false);
    },
  );
});

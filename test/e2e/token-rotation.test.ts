/**
 * New tokens while everything runs, over processes: an origin, two edges with token files of their own, the command.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rename, stat, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { tokenId } from "#secret/edge-token.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until, type World, type WorldEdge } from "../support/world.ts";

const cliMain = new URL("../../deploy/cli/main.ts", import.meta.url).pathname;

const readToken = async (file: string): Promise<string> => (await readFile(file, "utf8")).trim();
const originTokenFile = (world: World, kind: "edge" | "writer"): string =>
  join(world.directory, "origin", "secrets", `${kind}.token`);

async function nearcast(world: World, ...words: string[]): Promise<{ status: number; output: string }> {
  const child = spawn(process.execPath, [cliMain, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      NEARCAST_ORIGIN: world.originUrl,
      NEARCAST_TOKEN_FILE: join(world.directory, "my-writer.token"),
    },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [status] = (await once(child, "close")) as [number];
  return { status, output };
}

/** For the parts of the test: each begins and ends with edges that hold the current token. */
async function startTwo(t: TestContext): Promise<World> {
  const edge = { decoders: { processes: 1 }, cache: { memoryBytes: 16_777_216 } };
  const world = await startWorld(t, ["fra", "nyc"], { hasOwnTokenFiles: true, edge });
  const writer = await readToken(originTokenFile(world, "writer"));
  await writeFile(join(world.directory, "my-writer.token"), `${writer}\n`, { mode: 0o600 });
  return world;
}

/** Asks both edges for what neither has, all the while: names that never were, and every so often a new picture. */
function startLoad(world: World) {
  const ending = new AbortController();
  const failures: string[] = [];
  let answered = 0;
  const ask = async (edge: WorldEdge, name: string, wanted: number): Promise<void> => {
    const answer = await fetch(`${edge.url}/${name}`, { signal: AbortSignal.timeout(20_000) });
    await answer.arrayBuffer();
    if (answer.status === wanted) answered += 1;
    else failures.push(`${name} at ${edge.name}: ${answer.status}`);
  };
  const workers = [0, 1, 2, 3].map(async (worker) => {
    const edge = world.edges[worker % 2];
    assert.ok(edge !== undefined);
    for (let count = 0; !ending.signal.aborted; count += 1) {
      const name = `load/${worker}/${count}.jpg`;
      if (count % 50 === 0) {
        await world.api("PUT", `/images/${name}`, await photograph(worker * 1000 + count));
        await ask(edge, `${name}?w=60`, 200);
      } else await ask(edge, name, 404);
    }
  });
  return {
    failures,
    /** Resolves when there were `more` answers from now on. */
    more: async (more: number): Promise<void> => {
      const before = answered;
      await until(`${more} more answers: ${failures.join("; ")}`, async () => answered >= before + more);
    },
    answered: () => answered,
    stop: async (): Promise<void> => {
      ending.abort();
      await Promise.all(workers);
    },
  };
}

async function untilAllHave(world: World, token: string): Promise<void> {
  for (const edge of world.edges) {
    await until(`${edge.name} has the token`, async () => {
      const { originToken } = (await edge.status()) as { originToken: { id: string; refused: unknown } };
      const isKept = (await readToken(edge.tokenFile)) === token;
      return isKept && originToken.id === tokenId(token) && originToken.refused === null;
    });
  }
}

interface Listed {
  tokens: { kind: string; id: string; current: boolean; usedFrom: string[] }[];
}

test("tokens are rotated while everything runs", async (t) => {
  const world = await startTwo(t);

  await t.test(
    "the edge token is rotated under load without one failed request, without a restart, without carrying it",
    async (part) => {
      const old = await readToken(originTokenFile(world, "edge"));
      const load = startLoad(world);
      part.after(load.stop);
      await load.more(100);
      const rotated = await nearcast(world, "token", "rotate", "edge", "--overlap", "10m");
      assert.equal(rotated.status, 0, rotated.output);
      const next = await readToken(originTokenFile(world, "edge"));
      assert.notEqual(next, old);
      assert.match(rotated.output, new RegExp(`the edge token is now ${tokenId(next)}`));
      assert.ok(!rotated.output.includes(next) && !rotated.output.includes(old));
      await untilAllHave(world, next);
      for (const edge of world.edges) assert.equal((await stat(edge.tokenFile)).mode & 0o777, 0o600);
      await load.more(100);

      const listed = (await (await world.api("GET", "/tokens")).json()) as Listed;
      const edgeTokens = listed.tokens.filter(({ kind }) => kind === "edge");
      assert.deepEqual(
        edgeTokens.map(({ id, current }) => [id, current]),
        [
          [tokenId(next), true],
          [tokenId(old), false],
        ],
      );
      assert.ok((edgeTokens[0]?.usedFrom.length ?? 0) > 0);

      const retired = await nearcast(world, "token", "retire", "edge");
      assert.equal(retired.status, 0, retired.output);
      const feed = await fetch(`${world.originUrl}/api/v1/feed`, { headers: { authorization: `Bearer ${old}` } });
      assert.equal(feed.status, 401);
      await load.more(200);
      // The feeds that were opened with the old token are cut, and opened anew.
      for (const edge of world.edges) {
        await until(
          `${edge.name} follows`,
          async () => ((await edge.status())["feed"] as { state: string }).state === "live",
        );
      }
      await load.stop();
      assert.deepEqual(load.failures, []);
      for (const edge of world.edges) assert.equal((await fetch(`${edge.adminUrl}/readyz`)).status, 200);
      const log = world.edges.map((edge) => edge.program().log()).join("") + world.originProgram().log();
      assert.ok(!log.includes(old) && !log.includes(next), "no token is logged");

      const audit = await nearcast(world, "audit", "--kind", "token-rotate", "--since", "1h");
      assert.match(audit.output, new RegExp(`token: edge, new id ${tokenId(next)} \\(was ${tokenId(old)}\\)`));
      part.diagnostic(`${load.answered()} requests, none failed`);
    },
  );

  await t.test(
    "a token that the origin refuses is shown by readyz and status; cached pictures go on; writing the file heals it",
    async (part) => {
      const [fra, nyc] = world.edges;
      assert.ok(fra !== undefined && nyc !== undefined);
      await world.api("PUT", "/images/cached.jpg", await photograph(1));
      await world.api("PUT", "/images/other.jpg", await photograph(2));
      assert.equal((await fetch(`${fra.url}/cached.jpg?w=60`)).status, 200);

      const saved = join(world.directory, "saved.token");
      const rotated = await nearcast(world, "token", "rotate", "edge", "--now", "--save", saved);
      assert.equal(rotated.status, 0, rotated.output);
      assert.equal((await stat(saved)).mode & 0o777, 0o600);
      await until("fra says so", async () => (await fetch(`${fra.adminUrl}/readyz`)).status === 503);
      const { reasons } = (await (await fetch(`${fra.adminUrl}/readyz`)).json()) as { reasons: string[] };
      assert.match(reasons.join(), /the origin refuses this node's token .*write the current edge token into/);
      const status = await nearcast(world, "status", "--admin", fra.adminUrl);
      assert.equal(status.status, 1);
      assert.match(status.output, /the origin refuses this node's token/);
      // From the operator's machine, of nodes that are not there to be asked.
      const away = await nearcast(world, "status", "--site", "fra");
      const refusedLine = /fra1: it is not connected .* unknown edge token from 127\.\S+ was refused \d+ s ago/;
      assert.match(away.output, refusedLine);
      assert.equal((await fetch(`${fra.url}/cached.jpg?w=60`)).status, 200);
      assert.equal((await fetch(`${fra.url}/other.jpg?w=60`)).status, 502);

      // The follower has been refused several times by now; the log has the reason and what to do once.
      const lines = fra.program().log().split("\n");
      const advice = lines.filter((line) => line.includes("write the current edge token into"));
      const breaks = lines.filter((line) => line.includes("lost the feed") && line.includes("status 401"));
      assert.deepEqual([advice.length, breaks.length], [1, 1], lines.join("\n"));

      // A half-written file is not taken, although each request reads it at once: the older token stays in use.
      const token = await readToken(saved);
      const tokenOf = async (): Promise<string> => ((await fra.status())["originToken"] as { id: string }).id;
      const idBefore = await tokenOf();
      await writeFile(fra.tokenFile, token.slice(0, 20));
      assert.equal((await fetch(`${fra.url}/other.jpg?w=60`)).status, 502);
      assert.equal(await tokenOf(), idBefore);
      await writeFile(`${fra.tokenFile}.new`, `${token}\n`, { mode: 0o600 });
      await rename(`${fra.tokenFile}.new`, fra.tokenFile);
      const startedMs = performance.now();
      await until("fra serves it", async () => (await fetch(`${fra.url}/other.jpg?w=60`)).status === 200);
      const servedMs = performance.now() - startedMs;
      await until("fra is ready", async () => (await fetch(`${fra.adminUrl}/readyz`)).status === 200);
      part.diagnostic(`an uncached picture was served ${Math.round(servedMs)} ms after the file was written`);
      assert.equal((await fetch(`${nyc.adminUrl}/readyz`)).status, 503, "nyc's file was not written");
      await writeFile(nyc.tokenFile, `${token}\n`);
      await untilAllHave(world, token);
    },
  );

  await t.test("who purged this? the audit log names the author, the token, the address and the purge", async () => {
    await world.api("PUT", "/images/shop/chair.jpg", await photograph(3));
    assert.equal((await nearcast(world, "purge", "--prefix", "shop/")).status, 0);
    const asked = await nearcast(world, "audit", "--name", "shop/chair.jpg", "--kind", "purge", "--since", "1h");
    const writer = tokenId(await readToken(originTokenFile(world, "writer")));
    const { username } = userInfo();
    const line = new RegExp(`purge +shop/\\* +${username} +writer ${writer} +127\\.[\\d.]+ +.*prefix shop/`);
    assert.match(asked.output, line);
    const other = await nearcast(world, "audit", "--name", "garden/chair.jpg", "--kind", "purge", "--since", "1h");
    assert.match(other.output, /no entry matches/);
  });

  await t.test(
    "killed with SIGKILL in the middle of rotations, the origin never refuses what its edges hold",
    async () => {
      for (let round = 0; round < 4; round += 1) {
        const rotation = world.api("POST", "/tokens/edge/rotations", { overlapSeconds: 600 }).catch(() => undefined);
        // Now and then before, in the midst of and after the two writes.
        const waitUntilMs = performance.now() + round * 3;
        while (performance.now() < waitUntilMs) await new Promise((resolve) => setImmediate(resolve));
        await world.originProgram().kill("SIGKILL");
        await rotation;
        await world.startOrigin();
        for (const edge of world.edges) {
          const answer = await fetch(`${world.originUrl}/api/v1/nodes`, {
            headers: { authorization: `Bearer ${await readToken(edge.tokenFile)}` },
          });
          assert.equal(answer.status, 200, `${edge.name} in round ${round}`);
        }
        await untilAllHave(world, await readToken(originTokenFile(world, "edge")));
      }
    },
  );

  await t.test(
    "the file way: a token written at the origin's machine, or a deleted one, reaches the edges without a restart",
    async () => {
      const file = originTokenFile(world, "edge");
      const next = "n".repeat(43);
      await writeFile(`${file}.mine`, `${next}\n`, { mode: 0o600 });
      await rename(`${file}.mine`, file);
      await untilAllHave(world, next);
      await rename(file, `${file}.gone`);
      await until("the origin made another one", async () => (await readToken(file)) !== next);
      await untilAllHave(world, await readToken(file));
      const audit = await nearcast(world, "audit", "--kind", "token-rotate", "--limit", "2", "--json");
      const { entries } = JSON.parse(audit.output) as { entries: { author: string; token?: unknown }[] };
      assert.deepEqual(
        entries.map(({ author, token }) => [author, token]),
        [
          ["origin", undefined],
          ["origin", undefined],
        ],
      );
    },
  );

  await t.test("a node joins with an older edge token while that is accepted, and not afterwards", async () => {
    const edge = world.edge("fra");
    const old = join(world.directory, "old.token");
    await writeFile(old, await readToken(edge.tokenFile), { mode: 0o600 });
    await world.api("POST", "/tokens/edge/rotations", {});
    const net = edge.address.replace(/\d+$/, "");
    const joinAs = async (last: number, tokenFile: string) => {
      const node = ["--data", join(world.directory, `joined-${last}`), "--address", `${net}${last}`];
      const ports = ["--http-port", "8080", "--dns-port", "5300", "--admin-port", "18081"];
      const words = ["join", world.originUrl, "--site", "fra", "--token-file", tokenFile, "--no-start"];
      return await nearcast(world, ...words, ...node, ...ports);
    };
    const joined = await joinAs(201, old);
    assert.equal(joined.status, 0, joined.output);
    await world.api("DELETE", "/tokens/edge/older");
    const refused = await joinAs(202, old);
    assert.equal(refused.status, 4, refused.output);
    assert.match(refused.output, /secrets\/edge\.token/);
    const again = await joinAs(203, originTokenFile(world, "edge"));
    assert.equal(again.status, 0, again.output);
  });

  await t.test(
    "the writer token is rotated into the command's own file; the older one ends when it is retired",
    async () => {
      const mine = join(world.directory, "my-writer.token");
      const old = await readToken(mine);
      const rotated = await nearcast(world, "token", "rotate", "writer");
      assert.equal(rotated.status, 0, rotated.output);
      const next = await readToken(mine);
      assert.notEqual(next, old);
      assert.equal((await stat(mine)).mode & 0o777, 0o600);
      assert.equal(next, await readToken(originTokenFile(world, "writer")));
      const kept = join(world.directory, "kept.token");
      await writeFile(kept, old, { mode: 0o600 });
      assert.equal((await nearcast(world, "ls", "--token-file", kept)).status, 0, "the older one is accepted, too");
      const own = await nearcast(world, "token", "retire", "writer", "--token-file", kept);
      assert.equal(own.status, 4, own.output);
      assert.equal((await nearcast(world, "token", "retire", "writer")).status, 0);
      assert.equal((await nearcast(world, "ls", "--token-file", kept)).status, 4);
      assert.equal((await nearcast(world, "ls")).status, 0);
    },
  );
});

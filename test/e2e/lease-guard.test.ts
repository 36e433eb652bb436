/**
 * Nobody but the edge can take the lease: a real BIRD, and another user who connects from the edge's address while no
 * edge is connected. The key of the session and the nftables rule must each be enough; without both, he succeeds.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { suite, test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { makeLeaseKey } from "#base/lease-key.ts";
import { type Bird, startBird } from "../support/bird.ts";
import { needs, needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { until } from "../support/world.ts";
import { startHolder } from "../support/lease-holder.ts";

const thiefMain = fileURLToPath(new URL("../node/announce/lease-thief.ts", import.meta.url));
const guard = fileURLToPath(new URL("../../deploy/bird/lease-guard.nft", import.meta.url));
const nobody = 65_534;
const stolen = "198.51.100.0/24";

interface ThiefState {
  uid: number;
  state: string;
  reason: string;
  retries: number;
  announced: string[];
}

/** @param within runs it inside of a network namespace */
function startThief(
  t: TestContext,
  bird: Bird,
  settings: { uid?: number; key?: string; within?: readonly string[] } = {},
): { told: () => readonly ThiefState[] } {
  const { within = [], ...rest } = settings;
  const options = { peer: { host: bird.host, port: bird.port }, source: bird.edge, as: 64_500, prefixes: [stolen] };
  const words = [...within, process.execPath, thiefMain, JSON.stringify({ ...options, ...rest })];
  const child = spawn(words[0] ?? "", words.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  const told: ThiefState[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => told.push(JSON.parse(line) as ThiefState));
  const ended = once(child, "exit");
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { told: () => told };
}

async function prefixesOf(bird: Bird): Promise<string[]> {
  return (await bird.routes()).map(({ prefix }) => prefix);
}

/** He tries several times, gets nothing, and BIRD's table stays empty. */
async function assertRefused(bird: Bird, told: () => readonly ThiefState[], reason: RegExp): Promise<void> {
  await until("he has tried three times", () => Promise.resolve((told().at(-1)?.retries ?? 0) >= 3));
  assert.match(told().at(-1)?.reason ?? "", reason);
  assert.ok(told().every(({ state, announced }) => state !== "established" && announced.length === 0));
  assert.deepEqual(await prefixesOf(bird), []);
}

suite("the lease and other users", { concurrency: 3 }, () => {
  test("without a key anybody takes it: what the guards are for", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const bird = await startBird(t);
    startThief(t, bird);
    await until("BIRD has the stolen route", async () => (await prefixesOf(bird)).includes(stolen));
  });

  test("with a key, whoever does not have it gets no handshake, and the edge holds the lease", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const key = makeLeaseKey();
    const bird = await startBird(t, { key });
    const unsigned = startThief(t, bird);
    const wrong = startThief(t, bird, { key: makeLeaseKey() });
    await assertRefused(bird, wrong.told, /no answer: BIRD is not running, or it does not have the key/);
    assert.deepEqual(await prefixesOf(bird), []);
    assert.ok(unsigned.told().every(({ state }) => state === "connecting"));

    const keyFile = join(await temporaryDirectory(t), "lease.key");
    await writeFile(keyFile, `${key}\n`, { mode: 0o600 });
    const holder = startHolder(t, bird, { keyFile });
    await until("the edge's prefixes stand in BIRD", async () => (await prefixesOf(bird)).length === 2);
    await bird.restart("SIGKILL");
    await until("they are back after BIRD is", async () => (await prefixesOf(bird)).length === 2);
    holder.signal("SIGKILL");
    await until("a killed edge is withdrawn", async () => (await prefixesOf(bird)).length === 0);
  });

  test("a key file that others can read is not used: the edge says so, and announces nothing", async (t) => {
    if (!needsProgram(t, "bird")) return;
    const key = makeLeaseKey();
    const bird = await startBird(t, { key });
    const keyFile = join(await temporaryDirectory(t), "lease.key");
    await writeFile(keyFile, key, { mode: 0o644 });
    const holder = startHolder(t, bird, { keyFile });
    await until("it says why", () =>
      Promise.resolve(/has mode 0644.*chmod 600/.test(holder.told().at(-1)?.reason ?? "")),
    );
    assert.deepEqual(await prefixesOf(bird), []);
    assert.ok(!holder.log().includes(key));
    // The file is read at each connection, so mending it is enough.
    await chmod(keyFile, 0o600);
    await until("the edge's prefixes stand in BIRD", async () => (await prefixesOf(bird)).length === 2);
  });

  test("as the user nobody: the key refuses him, and so does the rule alone", async (t) => {
    if (!needsProgram(t, "bird") || !needsProgram(t, "nft") || !needsProgram(t, "ip")) return;
    if (!needs(t, process.getuid?.() === 0, "only root can become the user nobody")) return;
    const key = makeLeaseKey();
    const keyed = await startBird(t, { key });
    const refused = startThief(t, keyed, { uid: nobody });
    await until("he has tried", () => Promise.resolve(refused.told().length > 0));

    const space = `nearcast-guard-${process.pid}`;
    const within = ["ip", "netns", "exec", space];
    execFileSync("ip", ["netns", "add", space]);
    t.after(() => execFileSync("ip", ["netns", "delete", space]));
    execFileSync("ip", ["-n", space, "link", "set", "lo", "up"]);
    const open = await startBird(t, { within });
    const first = startThief(t, open, { uid: nobody, within });
    await until("without the rule he has it", async () => (await prefixesOf(open)).includes(stolen));
    assert.equal(first.told().at(-1)?.uid, nobody);

    // The shipped rule, with this BIRD's port, and without a user that only install.sh makes.
    const rule = join(await temporaryDirectory(t), "guard.nft");
    const shipped = execFileSync("cat", [guard], { encoding: "utf8" });
    const here = shipped.replace("{ root, nearcast }", "{ root }").replace("dport 179", `dport ${open.port}`);
    assert.notEqual(here, shipped);
    await writeFile(rule, here);
    execFileSync("ip", ["netns", "exec", space, "nft", "-f", rule]);
    await open.restart("SIGKILL");
    const second = startThief(t, open, { uid: nobody, within });
    await assertRefused(open, second.told, /connection refused/);
    startThief(t, open, { within });
    await until("root, as the edge's user, passes", async () => (await prefixesOf(open)).includes(stolen));

    assert.deepEqual(await prefixesOf(keyed), []);
    assert.ok(refused.told().every(({ uid, state }) => uid === nobody && state === "connecting"));
  });
});

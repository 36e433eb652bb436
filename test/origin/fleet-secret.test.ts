/** The fleet secret at the origin: made once, kept from others, rotated, told of. */
import assert from "node:assert/strict";
import { chmod, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { type FleetSecrets, secretId, secretsInOrder } from "#secret/fleet-secret.ts";
import { openFleetSecret } from "../../origin/fleet/fleet-secret-file.ts";
import { startOrigin } from "../../origin/start.ts";
import { keptLog } from "../support/kept-log.ts";
import { filePool, startTestOrigin, temporaryDirectory, testConfig, type TestOrigin } from "./running-origin.ts";
import { tester } from "./tester.ts";

const secretOf = async (origin: TestOrigin): Promise<FleetSecrets> =>
  await origin.json<FleetSecrets>(200, "GET", "/fleet/secret", { token: origin.tokens.edge });
const fileOf = (origin: TestOrigin): string => join(origin.dataDir, "secrets", "fleet-secret.json");

test("the first start makes 32 random octets, in a file for the owner alone; later starts keep them", async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await startTestOrigin(t, { dataDir });
  const made = await secretOf(first);
  assert.deepEqual(
    secretsInOrder(made).map((secret) => secret.length),
    [32],
  );
  assert.equal((await stat(fileOf(first))).mode & 0o777, 0o600);
  assert.deepEqual(JSON.parse(await readFile(fileOf(first), "utf8")), made);
  await first.close();
  const again = await startTestOrigin(t, { dataDir });
  assert.deepEqual(await secretOf(again), made);
  await again.close();
  await unlink(fileOf(first));
  const anew = await startTestOrigin(t, { dataDir });
  const replaced = await secretOf(anew);
  assert.notEqual(replaced.current, made.current);
  const { entries } = await anew.json<{ entries: { kind: string; author: string; facts: object }[] }>(
    200,
    "GET",
    "/audit",
  );
  const told = entries.map(({ kind, author, facts }) => ({ kind, author, facts }));
  const facts = { id: secretId(replaced.current), seq: 1 };
  assert.deepEqual(told, [{ kind: "secret-rotate", author: "origin", facts }], "two starts before changed nothing");
  assert.equal((await readEvents(t, anew, 1))[0]?.kind, "secret", "edges hear of it");
});

test("two origins have two secrets", async (t) => {
  const secrets = await Promise.all(
    [startTestOrigin(t), startTestOrigin(t)].map(async (one) => await secretOf(await one)),
  );
  assert.notEqual(secrets[0]?.current, secrets[1]?.current);
});

test("rotating makes the current one previous, drops the oldest, and tells the feed an id of it", async (t) => {
  const origin = await startTestOrigin(t);
  const first = await secretOf(origin);
  const rotated = await origin.json<{ id: string; previousId: string; seq: number }>(
    201,
    "POST",
    "/fleet/secret/rotations",
  );
  const second = await secretOf(origin);
  assert.equal(second.previous, first.current);
  assert.deepEqual(rotated, { id: secretId(second.current), previousId: secretId(first.current), seq: 1 });
  await origin.json(201, "POST", "/fleet/secret/rotations");
  const third = await secretOf(origin);
  assert.equal(third.previous, second.current);
  assert.equal(new Set([first.current, second.current, third.current]).size, 3);
  assert.equal((await stat(fileOf(origin))).mode & 0o777, 0o600);

  const events = await readEvents(t, origin, 2);
  assert.deepEqual(
    events.map(({ kind, value }) => [kind, value]),
    [
      ["secret", { id: secretId(second.current) }],
      ["secret", { id: secretId(third.current) }],
    ],
  );
});

test("rotations at one time follow one another: none is lost", async (t) => {
  const origin = await startTestOrigin(t);
  const answers = await Promise.all(
    Array.from({ length: 5 }, () =>
      origin.json<{ id: string; previousId: string }>(201, "POST", "/fleet/secret/rotations"),
    ),
  );
  const previous = new Map(answers.map((one) => [one.id, one.previousId]));
  assert.equal(previous.size, 5);
  const { current } = await secretOf(origin);
  const chain = [secretId(current)];
  for (let id = previous.get(chain[0] ?? ""); id !== undefined; id = previous.get(id)) chain.push(id);
  assert.equal(chain.length, 6, "from the newest back to the one of the start");
});

test("no answer with it may be stored, and no log holds it", async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const { log, lines } = keptLog();
  const origin = await startOrigin(testConfig(dataDir), { clock: systemClock, inspector: filePool(), log });
  t.after(origin.close);
  const tokens = {
    edge: (await readFile(origin.tokenFiles.edge, "utf8")).trim(),
    writer: (await readFile(origin.tokenFiles.writer, "utf8")).trim(),
  };
  const call = async (method: string, path: string, token: string): Promise<Response> =>
    await fetch(`${origin.url}/api/v1${path}`, { method, headers: { authorization: `Bearer ${token}` } });
  await (await call("POST", "/fleet/secret/rotations", tokens.writer)).arrayBuffer();
  const answer = await call("GET", "/fleet/secret", tokens.edge);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const { current, previous } = (await answer.json()) as FleetSecrets;
  assert.ok(previous !== undefined);
  const text = JSON.stringify(lines);
  assert.match(text, /rotated the fleet secret/);
  for (const secret of [current, previous]) assert.ok(!text.includes(secret));
});

test("a file that others can read, or that holds no secret, keeps the origin from starting", async (t) => {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const file = join(directory, "fleet-secret.json");
  const catalogue = { announceSecret: async () => 1, tokens: async () => [] };
  await openFleetSecret(directory, catalogue);
  for (const mode of [0o640, 0o604]) {
    await chmod(file, mode);
    await assert.rejects(openFleetSecret(directory, catalogue), /chmod 600/);
  }
  await chmod(file, 0o600);
  for (const text of ["", "{}", '{"current":"short"}', `{"current":"${"a".repeat(43)}","previous":""}`]) {
    await writeFile(file, text);
    await assert.rejects(openFleetSecret(directory, catalogue), /holds no fleet secret: delete it/, text);
  }
});

test("a rotation that the log's disk refused is reported by the next one, so that no secret is skipped", async (t) => {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  let isFull = true;
  const announced: string[] = [];
  const keeper = await openFleetSecret(directory, {
    announceSecret: async (id) => {
      if (isFull) throw new Error("the disk is full");
      return announced.push(id);
    },
    tokens: async () => [],
  });
  const first = keeper.secrets().current;
  await assert.rejects(keeper.rotate(tester), /full/);
  isFull = false;
  const { id, previousId } = await keeper.rotate(tester);
  assert.equal(previousId, secretId(first));
  assert.equal(id, secretId(keeper.secrets().current));
  assert.deepEqual(announced, [id]);
  await keeper.rotate(tester);
  assert.deepEqual(announced.length, 2);
  assert.notEqual(announced[1], id);
});

/** The first `count` events of the feed's log. */
async function readEvents(t: TestContext, origin: TestOrigin, count: number) {
  const ending = new AbortController();
  t.after(() => {
    ending.abort();
  });
  const answer = await fetch(`${origin.url}/api/v1/feed?since=0`, {
    headers: { authorization: `Bearer ${origin.tokens.edge}` },
    signal: AbortSignal.any([ending.signal, AbortSignal.timeout(10_000)]),
  });
  let text = "";
  const events = () =>
    [...text.matchAll(/^id: \d+\nevent: (\w+)\ndata: (.*)\n\n/gm)].map(([, kind, data = ""]) => ({
      kind,
      value: JSON.parse(data) as unknown,
    }));
  for await (const bytes of answer.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    if (events().length >= count) break;
  }
  return events();
}

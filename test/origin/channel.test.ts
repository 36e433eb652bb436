/** The origin's end of its channel to the nodes: proofs, questions, wrong answers, documents that nodes refuse. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { questionEventKind } from "#follow/channel/messages.ts";
import { createSeals, type Purpose } from "#follow/channel/seal.ts";
import { fleetSchema } from "#document/document.ts";
import { createEventStreamReader, type ServerSentEvent } from "#follow/event-stream.ts";
import { type Vocabulary, vocabularyOf } from "#document/vocabulary.ts";
import { nearcast } from "../deploy/support/command.ts";
import { keptLog } from "../support/kept-log.ts";
import { needs } from "../support/needs.ts";
import { until } from "../support/world.ts";
import { fleetExample, startTestOrigin, type TestOrigin } from "./running-origin.ts";

interface Subscriber {
  readonly channel: string;
  readonly questions: () => string[];
  /** @returns the status; the proof is always made for the subscriber's own channel */
  readonly tell: (path: string, purpose: Purpose, message: object | string, over?: string) => Promise<number>;
}

/** A subscriber of the feed that speaks for itself, with whatever secret it is given. */
async function subscribe(t: TestContext, origin: TestOrigin, secret: Uint8Array): Promise<Subscriber> {
  const leaving = new AbortController();
  t.after(() => leaving.abort());
  const authorization = `Bearer ${origin.tokens.edge}`;
  const answer = await fetch(`${origin.url}/api/v1/feed`, { headers: { authorization }, signal: leaving.signal });
  const events: ServerSentEvent[] = [];
  const read = createEventStreamReader();
  void (async () => {
    for await (const bytes of answer.body ?? []) events.push(...read(Buffer.from(bytes)));
  })().catch(() => undefined); // the test leaves
  await until("hello came", async () => events[0]?.event === "hello");
  const { channel } = JSON.parse(events[0]?.data ?? "") as { channel: string };
  const seals = createSeals(() => [secret]);
  return {
    channel,
    questions: () =>
      events.flatMap(({ event, data }) => {
        if (event !== questionEventKind) return [];
        const { body, seal } = JSON.parse(data) as { body: string; seal: string };
        assert.equal(seals.isSealed("question", channel, body, seal), true, "the origin proves itself, too");
        return [(JSON.parse(body) as { id: string }).id];
      }),
    tell: async (path, purpose, message, over = channel) => {
      const body = typeof message === "string" ? message : JSON.stringify(message);
      const told = await origin.call("POST", `/channel/${path}`, {
        token: origin.tokens.edge,
        headers: {
          "content-type": "application/json",
          "nearcast-channel": over,
          "nearcast-seal": seals.seal(purpose, channel, body) ?? "",
        },
        body,
      });
      await told.arrayBuffer();
      return told.status;
    },
  };
}

const today = vocabularyOf(fleetSchema);
const introductionOf = (node: string, understands: Vocabulary = today): object => ({
  node,
  site: "fra",
  process: 0,
  processes: 1,
  release: "9.9.9",
  understands,
});

async function secretOf(origin: TestOrigin): Promise<Buffer> {
  const text = await readFile(join(origin.dataDir, "secrets", "fleet-secret.json"), "utf8");
  return Buffer.from((JSON.parse(text) as { current: string }).current, "base64url");
}

interface Answer {
  node: string;
  outcome: string;
  reason?: string;
}

const json = { "content-type": "application/json" };

async function ask(origin: TestOrigin, body: object): Promise<Answer[]> {
  const call = { body: JSON.stringify(body), headers: json };
  return (await origin.json<{ answers: Answer[] }>(200, "POST", "/nodes/questions", call)).answers;
}

const presence = { state: "ready", fleetVersion: 1, feedSeq: 1 };
const status = { kind: "status" };

test("who has the edge token and not the fleet secret passes for no node, and is reported as unproven", async (t) => {
  const origin = await startTestOrigin(t);
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });
  const stranger = await subscribe(t, origin, Buffer.alloc(32, 7));
  assert.equal(await stranger.tell("introductions", "introduction", introductionOf("fra1")), 403);
  assert.equal(await stranger.tell("presence", "presence", presence), 403);
  const { connections } = await origin.json<{ connections: object[] }>(200, "GET", "/nodes/connected");
  assert.deepEqual(
    connections.map((one) => ({ ...one, since: "", lastHeard: "" })),
    [{ node: "fra1", isProven: false, address: "127.0.0.1", since: "", lastHeard: "" }],
  );
  const answers = await ask(origin, { question: status });
  assert.deepEqual(
    answers.map(({ node, outcome }) => [node, outcome]),
    [["fra1", "unproven"]],
  );
  assert.deepEqual(stranger.questions(), [], "it is asked nothing");
});

test("an origin that listens on :: calls a client of IPv4 by its IPv4 address", async (t) => {
  const isThere = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));
  if (!needs(t, isThere, "this machine has no ::1")) return;
  const origin = await startTestOrigin(t, { config: { listen: { host: "::" } } });
  await subscribe(t, { ...origin, url: `http://127.0.0.1:${origin.port}` }, await secretOf(origin));
  const { connections } = await origin.json<{ connections: { address: string }[] }>(200, "GET", "/nodes/connected");
  assert.deepEqual(
    connections.map(({ address }) => address),
    ["127.0.0.1"],
  );
});

test("a proof holds for its own connection and purpose only", async (t) => {
  const origin = await startTestOrigin(t);
  const secret = await secretOf(origin);
  const [one, other] = [await subscribe(t, origin, secret), await subscribe(t, origin, secret)];
  const introduction = introductionOf("fra1");
  assert.equal(await one.tell("introductions", "introduction", introduction, other.channel), 403);
  assert.equal(await one.tell("introductions", "presence", introduction), 403);
  assert.equal(await one.tell("introductions", "introduction", introduction, "AAAAAAAAAAAAAAAAAAAAAA"), 404);
  assert.equal(await one.tell("presence", "presence", presence), 409, "introductions come first");
  assert.equal(await one.tell("introductions", "introduction", { node: "fra1" }), 400);
  assert.equal(await one.tell("introductions", "introduction", introduction), 204);
  assert.equal(await one.tell("presence", "presence", presence), 204);
  assert.equal(await one.tell("presence", "presence", { ...presence, padding: "x".repeat(2000) }), 413);
});

test("what a node answers wrongly is named: refused, too large, unproven, no answer, too late", async (t) => {
  const origin = await startTestOrigin(t);
  const node = await subscribe(t, origin, await secretOf(origin));
  assert.equal(await node.tell("introductions", "introduction", introductionOf("fra1")), 204);
  const nextId = async (seen: number): Promise<string> => {
    await until("a question came", async () => node.questions().length > seen);
    return node.questions()[seen] ?? "";
  };
  const rows: [string, (id: string) => Promise<number>, number][] = [
    ["refused", async (id) => await node.tell("answers", "answer", { id, outcome: "refused", reason: "no" }), 204],
    ["too-large", async (id) => await node.tell("answers", "answer", { id, outcome: "too-large", sizeBytes: 9 }), 204],
    ["unproven", async (id) => await node.tell("answers", "presence", { id, outcome: "refused", reason: "no" }), 403],
    ["timed-out", async () => 0, 0],
  ];
  for (const [index, [outcome, reply, told]] of rows.entries()) {
    const waitMs = outcome === "timed-out" ? 100 : 10_000;
    const asking = ask(origin, { question: status, nodes: ["fra1"], waitMs });
    assert.equal(await reply(await nextId(index)), told, outcome);
    const [answer] = await asking;
    assert.equal(answer?.outcome, outcome);
    assert.notEqual(answer?.reason, undefined);
  }
  const late = { id: node.questions().at(-1) ?? "", outcome: "refused", reason: "late" };
  assert.equal(await node.tell("answers", "answer", late), 404);
});

test("a nested answer, or one of no known shape, costs its sender 400 and its own line, no other", async (t) => {
  const { log, lines } = keptLog();
  const origin = await startTestOrigin(t, { log });
  const secret = await secretOf(origin);
  const [bad, good] = [await subscribe(t, origin, secret), await subscribe(t, origin, secret)];
  assert.equal(await bad.tell("introductions", "introduction", introductionOf("bad1")), 204);
  assert.equal(await good.tell("introductions", "introduction", introductionOf("good1")), 204);
  const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
  const bodies = [32, 3000, 3500, 4000, 100_000].map((depth) => `"status":200,"body":${nested(depth)}`);
  for (const [index, rest] of [...bodies, `"status":9999,"body":{}`].entries()) {
    const asking = ask(origin, { question: status, waitMs: 10_000 });
    await until("both are asked", async () => [bad, good].every((one) => one.questions().length > index));
    const answerOf = (one: Subscriber, members: string): string =>
      `{"id":"${one.questions()[index] ?? ""}","outcome":"answered",${members}}`;
    assert.equal(await bad.tell("answers", "answer", answerOf(bad, rest)), 400, rest.slice(0, 60));
    // As deep as may be: the origin's own answer around it stays within what the command reads.
    assert.equal(await good.tell("answers", "answer", answerOf(good, `"status":200,"body":${nested(31)}`)), 204);
    const answers = await asking;
    assert.deepEqual(answers.map(({ node, outcome }) => `${node} ${outcome}`).toSorted(), [
      "bad1 malformed",
      "good1 answered",
    ]);
    assert.match(answers.find(({ node }) => node === "bad1")?.reason ?? "", /^its answer is not valid: /);
  }
  assert.deepEqual(
    lines.filter(({ level }) => level === "error"),
    [],
  );
});

test("nodes that proved themselves keep their seats at the feed; when all have, one more is refused", async (t) => {
  const origin = await startTestOrigin(t, { config: { limits: { subscribersMax: 4, subscribersPerAddressMax: 2 } } });
  await origin.json(201, "PUT", "/fleet", { body: fleetExample(["fra", "nyc"]) });
  const secret = await secretOf(origin);
  const nodes = [await subscribe(t, origin, secret)];
  assert.equal(await nodes[0]?.tell("introductions", "introduction", introductionOf("fra1")), 204);
  // Idle ones of the same address: of two seats one is left to them, and each takes it from the one before.
  for (let count = 0; count < 10; count += 1) nodes.push(await subscribe(t, origin, secret));
  const connectedNow = async (): Promise<number> =>
    (await origin.json<{ connections: object[] }>(200, "GET", "/nodes/connected")).connections.length;
  await until("those that gave way are gone", async () => (await connectedNow()) === 2);
  assert.equal(await nodes[0]?.tell("presence", "presence", presence), 204, "the first is still there");
  const last = nodes.at(-1);
  assert.equal(await last?.tell("introductions", "introduction", introductionOf("made-up")), 204);
  const node = await subscribe(t, origin, secret);
  assert.equal(await node.tell("introductions", "introduction", introductionOf("nyc1")), 204);
  await until("the one that is no node of the fleet gave way", async () => (await connectedNow()) === 2);
  for (const own of [nodes[0], node]) assert.equal(await own?.tell("presence", "presence", presence), 204);
  const refused = await origin.call("GET", "/feed", { token: origin.tokens.edge });
  assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
});

test("introductions are bounded for each address, and so are their lines in the log", async (t) => {
  const { log, lines } = keptLog();
  const origin = await startTestOrigin(t, { log, config: { limits: { subscribersPerAddressMax: 40 } } });
  const node = await subscribe(t, origin, await secretOf(origin));
  const told: number[] = [];
  for (let count = 0; count < 90; count += 1) {
    told.push(await node.tell("introductions", "introduction", introductionOf(`fra${count}`)));
  }
  assert.deepEqual(told, [...Array.from({ length: 80 }, () => 204), ...Array.from({ length: 10 }, () => 503)]);
  assert.equal(lines.filter(({ message }) => message === "a node introduced itself").length, 20);
  const stranger = await subscribe(t, origin, Buffer.alloc(32, 7));
  assert.equal(await stranger.tell("introductions", "introduction", introductionOf("fra1")), 503);
  assert.ok(lines.length < 40, `${lines.length} lines`);
});

test("nodes at one address bring four vocabularies at most: they leave room for those of others", async (t) => {
  const origin = await startTestOrigin(t);
  const secret = await secretOf(origin);
  const without = Object.keys(today).slice(0, 6);
  const told: number[] = [];
  for (const [index, word] of without.entries()) {
    const older = Object.fromEntries(Object.entries(today).filter(([key]) => key !== word));
    const node = await subscribe(t, origin, secret);
    told.push(await node.tell("introductions", "introduction", introductionOf(`fra${index}`, older)));
  }
  assert.deepEqual(told, [204, 204, 204, 204, 503, 503]);
});

test("a node that is away shows when and from where an unknown edge token was refused", async (t) => {
  const origin = await startTestOrigin(t);
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });
  const reason = async (): Promise<string> => (await ask(origin, { question: status }))[0]?.reason ?? "";
  assert.equal(await reason(), "it is not connected to the origin");
  await origin.json(401, "GET", "/images", { token: "p".repeat(43) });
  assert.equal(await reason(), "it is not connected to the origin", "a person's request says nothing of a node");
  await origin.json(401, "GET", "/feed", { token: "o".repeat(43) });
  const told = await reason();
  assert.match(told, /^it is not connected to the origin; a request with an unknown edge token from 127\.0\.0\.1 was /);
  assert.match(told, / was refused \d s ago: if that was this node, write the current edge token into its token file$/);
});

test("at most four questions are asked at one time, and only those of the list", async (t) => {
  const origin = await startTestOrigin(t);
  const node = await subscribe(t, origin, await secretOf(origin));
  await node.tell("introductions", "introduction", introductionOf("fra1"));
  const asking = Array.from({ length: 4 }, async () => await ask(origin, { question: status, waitMs: 10_000 }));
  await until("four are being asked", async () => node.questions().length === 4);
  const body = JSON.stringify({ question: status });
  assert.equal((await origin.json(503, "POST", "/nodes/questions", { body, headers: json }))["code"], "OVERLOADED");
  for (const id of node.questions()) await node.tell("answers", "answer", { id, outcome: "refused", reason: "no" });
  await Promise.all(asking);
  for (const question of [{ kind: "metrics" }, { kind: "status", path: "/metrics" }, {}]) {
    await origin.json(400, "POST", "/nodes/questions", { body: JSON.stringify({ question }), headers: json });
  }
});

test("a document that a live node does not understand is refused with node and key, unless forced", async (t) => {
  const origin = await startTestOrigin(t);
  const { "presets.*.w": _w, ...older } = today;
  const node = await subscribe(t, origin, await secretOf(origin));
  await node.tell("introductions", "introduction", introductionOf("nyc1", older));
  await origin.json(201, "PUT", "/fleet", { body: fleetExample() });
  const text = fleetExample(["fra"], "presets: { small: { w: 300 } }\n");
  const refused = await origin.json<{ code: string; dangers: object[] }>(409, "PUT", "/fleet", { body: text });
  const danger = {
    kind: "word",
    name: "nyc1",
    message: "nyc1 does not understand presets.small.w: is not a known key; upgrade the node first",
  };
  assert.deepEqual([refused.code, refused.dangers], ["DANGEROUS_FLEET", [danger]]);
  const dry = await origin.json<{ dangers: object[]; dangerCount: number }>(200, "PUT", "/fleet?dryRun=true", {
    body: text,
  });
  assert.deepEqual([dry.dangers, dry.dangerCount], [[danger], 1]);
  await origin.json(201, "PUT", "/fleet?force=true", { body: text });
});

test("a purge is judged by nodes that reported on this very event, and by nothing else", async (t) => {
  const origin = await startTestOrigin(t, { config: { keep: { events: 10 } } });
  const purge = async (order: object): Promise<number> => {
    const body = JSON.stringify(order);
    return (await origin.json<{ seq: number }>(202, "POST", "/purges", { body, headers: json })).seq;
  };
  const unheldOf = async (seq: number): Promise<object> =>
    (await origin.json<{ unheld: object }>(200, "GET", `/purges/${seq}`)).unheld;
  const nothing = { names: [], hosts: [], tags: [] };
  const alone = await purge({ names: ["a.jpg"], prefix: "shop/" });
  assert.deepEqual(await unheldOf(alone), nothing, "no node is connected");
  const where = ["--origin", origin.url, "--token-file", origin.tokenFiles.writer];
  const strict = await nearcast(["purge", "a.jpg", "--strict", ...where]);
  assert.deepEqual([strict.status, /warning/.test(strict.stderr)], [0, false], strict.stderr);

  const node = await subscribe(t, origin, await secretOf(origin));
  await node.tell("introductions", "introduction", introductionOf("fra1"));
  const reported = await purge({ names: ["a.jpg", "b.jpg"] });
  assert.deepEqual(await unheldOf(reported), nothing, "the node has not reported");
  const none = { entries: 0, bytes: 0 };
  const held = { names: [1], hosts: [], tags: [], prefix: false };
  const report = { seq: reported, memory: none, disk: none, records: 1, isComplete: true, held };
  assert.equal(await node.tell("purge-reports", "purge-report", report), 204);
  assert.deepEqual(await unheldOf(reported), { ...nothing, names: ["a.jpg"] });
  for (let count = 0; count < 10; count += 1) await purge({ tags: ["later"] });
  assert.deepEqual(await unheldOf(reported), nothing, "the event was pruned");
});

/**
 * The channel between a real origin and real edges, from outside: who is connected, questions and their answers, what
 * purges found, and what becomes of those who prove nothing.
 */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { questionEventKind } from "#fleet/channel/messages.ts";
import { createEventStreamReader, type ServerSentEvent } from "#fleet/event-stream.ts";
import { fleetSchema } from "#fleet/document.ts";
import { createSeals, type Purpose } from "#fleet/channel/seal.ts";
import { vocabularyOf } from "#fleet/vocabulary.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until, type World } from "../support/world.ts";

interface Answer {
  node: string;
  site: string;
  process?: number;
  outcome: string;
  reason?: string;
  status?: number;
  body?: Record<string, unknown>;
}

async function ask(world: World, body: object): Promise<Answer[]> {
  const answer = await world.api("POST", "/nodes/questions", body);
  return ((await answer.json()) as { answers: Answer[] }).answers;
}

interface ConnectionFacts {
  node?: string;
  process?: number;
  isProven: boolean;
  state?: string;
}

async function connected(world: World): Promise<ConnectionFacts[]> {
  const answer = await world.api("GET", "/nodes/connected");
  return ((await answer.json()) as { connections: ConnectionFacts[] }).connections;
}

async function allConnected(world: World, count: number): Promise<void> {
  await until(`${count} processes have introduced themselves`, async () => {
    return (await connected(world)).filter(({ isProven }) => isProven).length === count;
  });
}

interface PurgeFacts {
  isSettled: boolean;
  nodes: { node: string; state: string; tookMs?: number; memory: Held; disk: Held; records: number }[];
  anonymous: number;
  unheld: { names: string[]; hosts: string[]; tags: string[]; prefix?: string };
}
interface Held {
  entries: number;
  bytes: number;
}

async function purge(world: World, order: object): Promise<PurgeFacts> {
  const { seq } = (await (await world.api("POST", "/purges", order)).json()) as { seq: number };
  return (await (await world.api("GET", `/purges/${seq}?waitMs=10000`)).json()) as PurgeFacts;
}

/** A subscriber of the feed that speaks for itself, with whatever secret it is given. */
async function subscribe(world: World, secret: Uint8Array) {
  const token = (await readFile(join(world.directory, "origin", "secrets", "edge.token"), "utf8")).trim();
  const leaving = new AbortController();
  const answer = await fetch(`${world.originUrl}/api/v1/feed`, {
    headers: { authorization: `Bearer ${token}` },
    signal: leaving.signal,
  });
  const events: ServerSentEvent[] = [];
  const read = createEventStreamReader();
  const reading = (async () => {
    for await (const bytes of answer.body ?? []) events.push(...read(Buffer.from(bytes)));
  })().catch(() => undefined);
  await until("hello came", async () => events[0]?.event === "hello");
  const { channel } = JSON.parse(events[0]?.data ?? "") as { channel: string };
  const seals = createSeals(() => [secret]);
  return {
    channel,
    events,
    /** @returns the status */
    tell: async (path: string, purpose: Purpose, message: object, over = channel): Promise<number> => {
      const body = JSON.stringify(message);
      const told = await fetch(`${world.originUrl}/api/v1/channel/${path}`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          "nearcast-channel": over,
          "nearcast-seal": seals.seal(purpose, channel, body) ?? "",
        },
        body,
      });
      await told.arrayBuffer();
      return told.status;
    },
    leave: async (): Promise<void> => {
      leaving.abort();
      await reading;
    },
  };
}

const introductionOf = (node: string): object => ({
  node,
  site: "fra",
  process: 0,
  processes: 1,
  release: "9.9.9",
  understands: vocabularyOf(fleetSchema),
});

async function secretOf(world: World): Promise<Buffer> {
  const text = await readFile(join(world.directory, "origin", "secrets", "fleet-secret.json"), "utf8");
  return Buffer.from((JSON.parse(text) as { current: string }).current, "base64url");
}

test("the origin asks nodes, and they answer over the channel", async (t) => {
  const world = await startWorld(t, ["fra", "nyc"]);
  const [fra, nyc] = [world.edge("fra"), world.edge("nyc")];
  await world.api("PUT", "/images/alps.jpg", await photograph(1));

  await t.test("every node introduces itself, proves it, and says how it is", async () => {
    await allConnected(world, 2);
    await until("they said how they are", async () => (await connected(world)).every(({ state }) => state === "ready"));
    const names = (await connected(world)).map(({ node }) => String(node));
    assert.deepEqual(new Set(names), new Set(["fra1", "nyc1"]));
    assert.equal(names.length, 2);
  });

  await t.test("status comes from every node, as its admin listener tells it", async () => {
    const answers = await ask(world, { question: { kind: "status" } });
    assert.deepEqual(
      answers.map(({ node, site, process, outcome, status }) => [node, site, process, outcome, status]),
      [
        ["fra1", "fra", 0, "answered", 200],
        ["nyc1", "nyc", 0, "answered", 200],
      ],
    );
    const own = await nyc.status();
    assert.deepEqual(Object.keys(answers[1]?.body ?? {}), Object.keys(own));
    assert.equal(answers[1]?.body?.["pid"], nyc.program().pid);
  });

  await t.test(
    "URLs and names are explained by the nodes that are named, and a bad URL is the node's own 4xx",
    async () => {
      const url = `http://img.cdn.test/alps.jpg?w=100`;
      const [one, ...others] = await ask(world, { question: { kind: "explain-url", url }, nodes: ["nyc1"] });
      assert.deepEqual([one?.node, one?.body?.["host"], others.length], ["nyc1", "img.cdn.test", 0]);
      const [name] = await ask(world, {
        question: { kind: "explain-name", name: "img.cdn.test", ip: "192.0.2.1" },
        sites: ["fra"],
      });
      assert.equal(name?.body?.["name"], "img.cdn.test");
      const [bad] = await ask(world, { question: { kind: "explain-url", url: "nothing" }, first: true });
      assert.deepEqual([bad?.node, bad?.status, bad?.body?.["code"]], ["fra1", 400, "BAD_PARAMETER"]);
    },
  );

  await t.test(
    "nothing else can be asked, and nodes that are not there are a 404 that names those that are",
    async () => {
      await world.api("POST", "/nodes/questions", { question: { kind: "metrics" } }, [400]);
      await world.api("POST", "/nodes/questions", { question: { kind: "status", path: "/metrics" } }, [400]);
      const unknown = await world.api(
        "POST",
        "/nodes/questions",
        { question: { kind: "status" }, nodes: ["tyo1"] },
        [404],
      );
      assert.match(await unknown.text(), /there is no node \\"tyo1\\"; there are: fra1, nyc1/);
    },
  );

  await t.test("a purge says what each node held, counted by tier, and what nobody held", async () => {
    await fetch(`${fra.url}/alps.jpg?w=100&fm=webp`);
    await fetch(`${fra.url}/alps.jpg?w=120&fm=webp`);
    await until("the sizes are on disk", async () => {
      return ((await fra.metrics()).get(`nearcast_cache_entries{tier="disk"}`) ?? 0) >= 3;
    });
    const first = await purge(world, { names: ["alps.jpg", "alsp.jpg"], tags: ["nowhere"], hosts: ["img.cdn.test"] });
    assert.equal(first.isSettled, true);
    const [atFra, atNyc] = first.nodes;
    assert.deepEqual([atFra?.node, atFra?.state, atFra?.memory.entries, atFra?.records], ["fra1", "done", 2, 1]);
    // The two sizes and the source.
    assert.equal(atFra?.disk.entries, 3);
    assert.ok((atFra?.memory.bytes ?? 0) > 1000 && (atFra?.disk.bytes ?? 0) > (atFra?.memory.bytes ?? 0));
    assert.deepEqual(
      [atNyc?.node, atNyc?.state, atNyc?.memory.entries, atNyc?.disk.entries, atNyc?.records],
      ["nyc1", "done", 0, 0, 0],
    );
    assert.deepEqual(first.unheld, { names: ["alsp.jpg"], hosts: [], tags: ["nowhere"] });
    const again = await purge(world, { names: ["alps.jpg"], prefix: "shop/" });
    assert.deepEqual(again.unheld, { names: ["alps.jpg"], hosts: [], tags: [], prefix: "shop/" });
    assert.deepEqual(
      again.nodes.map(({ memory, disk, records }) => memory.entries + disk.entries + records),
      [0, 0],
    );
  });

  await t.test("a soft purge counts what it marked and leaves it there", async () => {
    await fetch(`${nyc.url}/alps.jpg?w=100&fm=webp`);
    const soft = await purge(world, { all: true, soft: true });
    assert.equal(soft.nodes.find(({ node }) => node === "nyc1")?.memory.entries, 1);
    const hard = await purge(world, { all: true });
    assert.equal(hard.nodes.find(({ node }) => node === "nyc1")?.memory.entries, 1);
  });

  await t.test(
    "who has the edge token and not the fleet secret passes for no node, and is told of as unproven",
    async () => {
      const stranger = await subscribe(world, Buffer.alloc(32, 7));
      assert.equal(await stranger.tell("introductions", "introduction", introductionOf("tyo1")), 403);
      assert.equal(await stranger.tell("presence", "presence", { state: "ready", fleetVersion: 1, feedSeq: 1 }), 403);
      const facts = (await connected(world)).find(({ node }) => node === "tyo1");
      assert.equal(facts?.isProven, false);
      await ask(world, { question: { kind: "status" } });
      assert.equal(
        stranger.events.some(({ event }) => event === questionEventKind),
        false,
        "it is asked nothing",
      );
      await stranger.leave();
    },
  );

  await t.test("a proof holds for its own connection and purpose only", async () => {
    const secret = await secretOf(world);
    const [one, other] = [await subscribe(world, secret), await subscribe(world, secret)];
    const introduction = introductionOf("fra2");
    assert.equal(await one.tell("introductions", "introduction", introduction, other.channel), 403);
    assert.equal(await one.tell("introductions", "presence", introduction), 403);
    assert.equal(await one.tell("introductions", "introduction", introduction, "AAAAAAAAAAAAAAAAAAAAAA"), 404);
    assert.equal(await one.tell("presence", "presence", { state: "ready", fleetVersion: 1, feedSeq: 1 }), 409);
    assert.equal(await one.tell("introductions", "introduction", { node: "fra2" }), 400);
    await Promise.all([one.leave(), other.leave()]);
  });

  await t.test("what a node answers wrongly is named: refused, too large, unproven, no answer", async () => {
    const node = await subscribe(world, await secretOf(world));
    assert.equal(await node.tell("introductions", "introduction", introductionOf("fra2")), 204);
    const nextId = async (seen: number): Promise<string> => {
      await until("a question came", async () => questionsIn(node.events).length > seen);
      return questionsIn(node.events)[seen] ?? "";
    };
    const status = { question: { kind: "status" }, nodes: ["fra2"], waitMs: 300 };
    const rows: [string, (id: string) => Promise<number>, number][] = [
      ["refused", async (id) => await node.tell("answers", "answer", { id, outcome: "refused", reason: "no" }), 204],
      [
        "too-large",
        async (id) => await node.tell("answers", "answer", { id, outcome: "too-large", sizeBytes: 9 }),
        204,
      ],
      ["unproven", async (id) => await node.tell("answers", "presence", { id, outcome: "refused", reason: "no" }), 403],
      ["timed-out", async () => 0, 0],
    ];
    for (const [index, [outcome, reply, told]] of rows.entries()) {
      const asking = ask(world, status);
      assert.equal(await reply(await nextId(index)), told, outcome);
      const [answer] = await asking;
      assert.equal(answer?.outcome, outcome);
      assert.notEqual(answer?.reason, undefined);
    }
    const late = questionsIn(node.events).at(-1) ?? "";
    assert.equal(await node.tell("answers", "answer", { id: late, outcome: "refused", reason: "late" }), 404);
    await node.leave();
  });

  await t.test("a node that is away is named, and one that comes back replays the purge before it serves", async () => {
    await fetch(`${nyc.url}/alps.jpg?w=100&fm=webp`);
    await nyc.program().kill("SIGTERM");
    await until("it is gone", async () => (await connected(world)).length === 1);
    const answers = await ask(world, { question: { kind: "status" } });
    assert.deepEqual(
      answers.map(({ node, outcome }) => [node, outcome]),
      [
        ["fra1", "answered"],
        ["nyc1", "away"],
      ],
    );
    const { nodes, isSettled } = await purge(world, { names: ["alps.jpg"] });
    assert.deepEqual(
      [isSettled, nodes.map(({ node, state }) => `${node} ${state}`)],
      [true, ["fra1 done", "nyc1 away"]],
    );
    await nyc.start();
    await allConnected(world, 2);
    const answer = await fetch(`${nyc.url}/alps.jpg?w=100&fm=webp`);
    assert.match(answer.headers.get("cache-status") ?? "", /fwd=/);
  });

  await t.test("after a rotation of the fleet secret everybody is still proven", async () => {
    await world.api("POST", "/fleet/secret/rotations");
    await world.api("POST", "/fleet/secret/rotations");
    await until("all answer", async () => {
      return (await ask(world, { question: { kind: "status" } })).every(({ outcome }) => outcome === "answered");
    });
  });
});

function questionsIn(events: readonly ServerSentEvent[]): string[] {
  return events.flatMap(({ event, data }) => {
    if (event !== questionEventKind) return [];
    const { body } = JSON.parse(data) as { body: string };
    return [(JSON.parse(body) as { id: string }).id];
  });
}

test("each process of a machine answers for itself, and their purges are summed", async (t) => {
  const world = await startWorld(t, ["fra"], { edgeWords: ["--processes", "2"] });
  await allConnected(world, 2);
  const answers = await ask(world, { question: { kind: "status" } });
  assert.deepEqual(
    answers.map(({ node, process, outcome }) => [node, process, outcome]),
    [
      ["fra1", 0, "answered"],
      ["fra1", 1, "answered"],
    ],
  );
  const { nodes, isSettled } = await purge(world, { all: true });
  assert.deepEqual([isSettled, nodes.map(({ node, state }) => `${node} ${state}`)], [true, ["fra1 done"]]);
});

/**
 * The channel between a real origin and real edges, from outside: who is connected, questions and their answers, and
 * what purges found. test/origin/channel.test.ts has what the origin makes of those who prove nothing.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { nearcast, type Ran } from "../deploy/support/command.ts";
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
      assert.match(await unknown.text(), /the fleet has no node \\"tyo1\\"; it has fra1, nyc1/);
    },
  );

  await t.test("a purge says what each node held, counted by tier, and what nobody held", async () => {
    await fetch(`${fra.url}/alps.jpg?w=100&fm=webp`);
    await fetch(`${fra.url}/alps.jpg?w=120&fm=webp`);
    // The two sizes, the source and the record.
    await until("all of it is on disk", async () => {
      const { cache } = (await fra.status()) as { cache: { disk: { entries: number } } };
      return cache.disk.entries === 4;
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

  const workstation = async (...words: string[]): Promise<Ran> =>
    await nearcast([
      ...words,
      "--origin",
      world.originUrl,
      "--data",
      join(world.directory, "nothing"),
      "--token-file",
      join(world.directory, "origin", "secrets", "writer.token"),
    ]);

  await t.test("from the workstation, status and explain reach every node, and say which way they took", async () => {
    const status = await workstation("status");
    assert.equal(status.status, 0, status.stdout + status.stderr);
    assert.match(status.stdout, /fra1 +fra +ready/);
    assert.match(status.stdout, /nyc1 +nyc +ready/);
    assert.match(status.stderr, /\(asked through the origin at http:/);
    const one = (await workstation("status", "--site", "nyc", "--json")).json();
    const { asked, nodes } = one as { asked: string; nodes: { node: string }[] };
    assert.deepEqual([asked, nodes.map(({ node }) => node)], ["origin", ["nyc1"]]);
    const url = await workstation("explain", "http://img.cdn.test/alps.jpg?w=100", "--node", "nyc1");
    assert.match(url.stdout, /answered by node nyc1, asked through the origin/);
    const name = await workstation("explain", "img.cdn.test", "--from", "192.0.2.1");
    assert.match(name.stdout, /img\.cdn\.test A[\s\S]*answered by node fra1/);
    assert.equal((await workstation("explain", "img.cdn.test", "--node", "tyo1")).status, 4);
    const admin = await workstation("status", "--admin", fra.adminUrl);
    assert.match(admin.stderr, /asked at the admin listeners of the nodes/);
  });

  await t.test(
    "from the workstation, purge says what it matched, and --strict fails where nobody held it",
    async () => {
      await fetch(`${fra.url}/alps.jpg?w=100&fm=webp`);
      const held = await workstation("purge", "alps.jpg", "--wait", "--strict");
      assert.equal(held.status, 0, held.stdout + held.stderr);
      assert.match(held.stdout, /fra1 +fra +done +\d+ ms +1 entry/);
      assert.match(held.stdout, /nyc1 +nyc +done +\d+ ms +0 entries/);
      const missed = await workstation("purge", "alsp.jpg");
      assert.equal(missed.status, 0);
      assert.match(missed.stdout, /matched on 0 of 2 nodes/);
      assert.match(missed.stderr, /no node held anything for the name "alsp\.jpg".*did you mean "alps\.jpg"/);
      assert.equal((await workstation("purge", "alsp.jpg", "--strict")).status, 1);
    },
  );

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

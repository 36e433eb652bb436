/** The roster at the origin: who may join under which name, what is drained and removed, and what the feed tells. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { createEventStreamReader } from "#follow/event-stream.ts";
import { type Roster, type RosterNode, rosterNodesMax } from "#document/roster.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { openFleetReader } from "../../origin/fleet/stored-fleets.ts";
import { mustBeReachable } from "../../origin/roster/registration-checks.ts";
import { openRosterKeeper } from "../../origin/roster/roster-changes.ts";
import { fleetValue } from "../support/fleet.ts";
import { startTestOrigin, temporaryDirectory, type TestOrigin } from "./running-origin.ts";
import { tester, wideLimits } from "./tester.ts";

interface Joined {
  node: RosterNode;
  revision: number;
  unchanged: boolean;
}
interface Problem {
  code: string;
  detail: string;
  sites?: string[];
  nodes?: string[];
}

/** Two sites with a node each, shared addresses, a cloud. */
const document = stringify({
  ...fleetValue(),
  sites: [
    site("fra", "192.0.2.1", { name: "fra1", http: "http://192.0.2.1:8080", addresses: ["192.0.2.11"] }),
    site("dc1", "192.0.2.2", { name: "nyc1", http: "http://[2001:db8::2]", peer: { host: "192.0.2.2", port: 8082 } }),
  ],
  anycast: {
    addresses: ["198.51.100.1"],
    clouds: [{ name: "a", prefixes: ["203.0.113.0/24"], addresses: ["203.0.113.1"], sites: ["fra"] }],
  },
  steering: [],
});

function site(name: string, shared: string, node: object): object {
  return { name, place: { latitude: 1, longitude: 2 }, addresses: [shared], nodes: [node] };
}

async function startFleet(t: TestContext, dataDir?: string): Promise<TestOrigin> {
  const origin = await startTestOrigin(
    { after: (cleanUp) => t.after(cleanUp) },
    dataDir === undefined ? {} : { dataDir },
  );
  const answer = await origin.call("PUT", "/fleet", { body: document });
  assert.ok(answer.ok, await answer.text());
  return origin;
}

/** Registers with the edge's token, as machines do. */
async function register<Body = Joined>(origin: TestOrigin, status: number, body: unknown): Promise<Body> {
  return await origin.json<Body>(status, "POST", "/nodes", {
    token: origin.tokens.edge,
    body: JSON.stringify(body),
    headers: { "content-type": "application/json" },
  });
}

const rosterOf = async (origin: TestOrigin): Promise<Roster> =>
  await origin.json<Roster>(200, "GET", "/nodes", { token: origin.tokens.edge });

const machine = (last: number, more: object = {}) => ({
  site: "fra",
  http: `http://10.0.0.${last}`,
  addresses: [`10.0.0.${last}`],
  ...more,
});

test("a machine is given its site's next free name, which the document does not use either", async (t) => {
  const origin = await startFleet(t);
  assert.deepEqual(await rosterOf(origin), { revision: 0, nodes: [], draining: [] });
  const peer = { host: "10.0.0.2", port: 8082 };
  const first = await register(origin, 201, machine(2, { peer }));
  assert.deepEqual(first, { node: { name: "fra2", ...machine(2), peer }, revision: 1, unchanged: false });
  const second = await register(origin, 201, machine(3));
  assert.equal(second.node.name, "fra3");
  assert.equal((await register(origin, 201, { ...machine(4), site: "dc1" })).node.name, "dc1-1");
  assert.equal((await register(origin, 201, machine(5, { name: "fra-x" }))).node.name, "fra-x");
  await origin.json(200, "DELETE", "/nodes/fra2");
  assert.equal((await register(origin, 201, machine(6))).node.name, "fra2");
  const roster = await rosterOf(origin);
  assert.equal(roster.revision, 6);
  assert.deepEqual(
    roster.nodes.map(({ name }) => name),
    ["dc1-1", "fra-x", "fra2", "fra3"],
  );
});

test("the same registration again changes nothing, with its name or without", async (t) => {
  const origin = await startFleet(t);
  const wanted = machine(2, { addresses: ["10.0.0.2", "2001:db8::5"] });
  const first = await register(origin, 201, wanted);
  const spelled = { ...wanted, http: "http://10.0.0.2:80/", addresses: ["10.0.0.2", "2001:0db8:0::5"] };
  for (const again of [wanted, { ...wanted, name: "fra2" }, spelled]) {
    assert.deepEqual(await register(origin, 200, again), { ...first, unchanged: true });
  }
  await origin.json(200, "PUT", "/nodes/fra2/draining");
  await register(origin, 200, wanted);
  assert.deepEqual((await rosterOf(origin)).draining, ["fra2"], "nor does it undrain");
});

test("what another node has, or all of a site share, is refused by its name; nothing changes", async (t) => {
  const origin = await startFleet(t);
  await register(origin, 201, machine(2, { peer: { host: "10.0.0.2" } }));
  const cases: [wanted: object, says: RegExp][] = [
    [machine(3, { name: "fra1" }), /fra1 is already a node of the fleet document/],
    [machine(3, { name: "fra2" }), /fra2 has joined before with different values: http \(http:\/\/10\.0\.0\.2\)/],
    [machine(2, { addresses: [] }), /fra2 has joined before with different values: peer, addresses \(10\.0\.0\.2\)/],
    [machine(2, { name: "fra9" }), /10\.0\.0\.2 is already in use: it is an address of the node fra2/],
    [
      machine(2, { name: "fra9", addresses: [] }),
      /http:\/\/10\.0\.0\.2 is already in use: it is the URL of the node fra2/,
    ],
    [machine(3, { http: "http://192.0.2.1:8080/" }), /the URL of the node fra1/],
    [machine(3, { http: "http://[2001:db8:0::2]:80" }), /the URL of the node nyc1/],
    [machine(3, { addresses: ["192.0.2.11"] }), /192\.0\.2\.11 is already in use: it is an address of the node fra1/],
    [machine(3, { addresses: ["192.0.2.2"] }), /shared by all nodes of dc1/],
    [machine(3, { addresses: ["198.51.100.1"] }), /an anycast address/],
    [machine(3, { addresses: ["203.0.113.1"] }), /of the cloud a/],
    [machine(3, { peer: { host: "10.0.0.2", port: 8082 } }), /the peer endpoint of the node fra2/],
    [machine(3, { peer: { host: "192.0.2.2" } }), /the peer endpoint of the node nyc1/],
  ];
  for (const [wanted, says] of cases) {
    const problem = await register<Problem>(origin, 409, wanted);
    assert.equal(problem.code, "NODE_CONFLICT");
    assert.match(problem.detail, says);
  }
  assert.equal((await rosterOf(origin)).revision, 1);
});

test("a site that the document does not have is refused with those that it has", async (t) => {
  const origin = await startFleet(t);
  const problem = await register<Problem>(origin, 422, machine(2, { site: "tyo" }));
  assert.equal(problem.code, "UNKNOWN_SITE");
  assert.match(problem.detail, /no site "tyo"; it has fra, dc1/);
  assert.deepEqual(problem.sites, ["fra", "dc1"]);
  const empty = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  assert.match((await register<Problem>(empty, 422, machine(2))).detail, /no valid fleet document is published/);
});

test("registrations that make no sense are refused whole", async (t) => {
  const origin = await startFleet(t);
  const cases: object[] = [
    [],
    {},
    { ...machine(2), site: "Fra" },
    { ...machine(2), name: "-fra" },
    { ...machine(2), name: "a".repeat(33) },
    { ...machine(2), name: null },
    { ...machine(2), http: "ftp://10.0.0.2" },
    { ...machine(2), http: "http://user@10.0.0.2" },
    { ...machine(2), http: `http://10.0.0.2/${"a".repeat(250)}` },
    { ...machine(2), addresses: "10.0.0.2" },
    { ...machine(2), addresses: ["example.com"] },
    { ...machine(2), addresses: Array.from({ length: 17 }, (_, index) => `10.0.1.${index}`) },
    { ...machine(2), peer: { host: "10.0.0.2", port: 0 } },
    { ...machine(2), peer: { host: "localhost" } },
    { ...machine(2), colour: "red" },
    ...["0.0.0.0", "::", "169.254.1.1", "224.0.0.1", "255.255.255.255", "fe80::1", "fe80::1%lo", "ff02::1"].map(
      (address) => machine(2, { addresses: [address] }),
    ),
  ];
  for (const body of cases) {
    const { code } = await register<Problem>(origin, 400, body);
    assert.match(code, /^BAD_(?:REQUEST|PARAMETER)$/);
  }
  await register(origin, 413, machine(2, { name: "x".repeat(20_000) }));
  assert.deepEqual(await rosterOf(origin), { revision: 0, nodes: [], draining: [] });
});

test("one token and one address have so many nodes; removed or with another token there is room again", async (t) => {
  const limits = { nodesPerTokenMax: 5, nodesPerAddressMax: 2 };
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { config: { limits } });
  assert.ok((await origin.call("PUT", "/fleet", { body: document })).ok);
  const victim = (port: number, host = "10.9.9.9") => machine(1, { http: `http://${host}:${port}`, addresses: [] });
  await register(origin, 201, victim(1));
  await register(origin, 201, victim(2));
  const crowded = await register<Problem>(origin, 409, victim(3));
  assert.equal(crowded.code, "NODE_CONFLICT");
  assert.match(
    crowded.detail,
    /^2 nodes at 10\.9\.9\.9 have joined, the most that limits\.nodesPerAddressMax of the origin/,
  );
  await register(origin, 201, victim(1, "[2001:db8::9]"));
  await register(origin, 201, victim(2, "[2001:0db8:0::9]"));
  assert.match((await register<Problem>(origin, 409, victim(3, "[2001:db8::9]"))).detail, /at 2001:db8::9 have joined/);
  for (const host of ["[::ffff:10.9.9.9]", "[64:ff9b::10.9.9.9]", "[2002:a09:909::1]", "[2002:a09:909:7::1]"]) {
    assert.match((await register<Problem>(origin, 409, victim(3, host))).detail, /^2 nodes at /, host);
  }
  await register(origin, 200, victim(1));
  await register(origin, 201, machine(20));
  const many = await register<Problem>(origin, 409, machine(21));
  assert.match(
    many.detail,
    /^5 nodes have joined with the token [0-9a-f]{8}, the most that limits\.nodesPerTokenMax of the origin/,
  );
  assert.equal((await rosterOf(origin)).revision, 5);
  assert.ok(
    (await rosterOf(origin)).nodes.every((node) => !("token" in node)),
    "edges are not told",
  );
  await origin.json(200, "DELETE", "/nodes/fra2");
  await register(origin, 201, machine(21));
  await register(origin, 409, machine(22));
  await origin.json(201, "POST", "/nodes", {
    body: JSON.stringify(machine(22)),
    headers: { "content-type": "application/json" },
  });
});

test("where no other node could reach it, nobody joins; at loopback only from the origin's own machine", () => {
  const from = (address: string | undefined) => ({ ...tester, address });
  const rows: [wanted: object, client: string | undefined, says: RegExp | undefined][] = [
    [{ http: "http://10.0.0.2" }, "192.0.2.7", undefined],
    [{ http: "http://node.example", peer: { host: "fd00::1", port: 8082 } }, "192.0.2.7", undefined],
    [{ http: "http://127.0.0.1:8081" }, "192.0.2.7", /^http: 127\.0\.0\.1 is the machine itself/],
    [{ http: "http://2130706433:8081" }, "192.0.2.7", /^http: 127\.0\.0\.1 is the machine itself/],
    [{ http: "http://[::1]" }, "192.0.2.7", /^http: ::1 is the machine itself/],
    [{ http: "http://[::ffff:127.0.0.1]" }, "192.0.2.7", /^http: ::ffff:7f00:1 is the machine itself/],
    [{ http: "http://LOCALHOST" }, "192.0.2.7", /^http: localhost is the machine itself/],
    [{ http: "http://127.0.0.1" }, undefined, /is the machine itself/],
    [{ http: "http://127.0.0.1", peer: { host: "127.0.0.1", port: 1 } }, "127.0.0.1", undefined],
    [{ http: "http://127.0.0.1" }, "::1", undefined],
    [{ http: "http://127.0.0.1" }, "::ffff:127.0.0.1", undefined],
    [
      { http: "http://10.0.0.2", peer: { host: "127.0.0.1", port: 22 } },
      "192.0.2.7",
      /^peer: 127\.0\.0\.1 is the machine itself/,
    ],
    [{ http: "http://169.254.169.254" }, "127.0.0.1", /^http: 169\.254\.169\.254 is not an address/],
    [{ http: "http://10.0.0.2", peer: { host: "fe80::1", port: 1 } }, "127.0.0.1", /^peer: fe80::1 is not an address/],
    [{ http: "http://0.0.0.0" }, "127.0.0.1", /is not an address that other nodes can reach/],
    [{ http: "http://127.0.0.1" }, "2002:7f00:1::", /is the machine itself/],
    [{ http: "http://[64:ff9b::a00:2]", addresses: ["64:ff9b::c000:201"] }, "192.0.2.7", undefined],
    // 169.254.169.254 and 127.0.0.1 in other clothes; all forms are in test/node/base/networks.test.ts.
    ...["64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "::ffff:a9fe:a9fe", "::a9fe:a9fe", "2002:a9fe:a9fe::1"].flatMap(
      (host): [object, string, RegExp][] => [
        [{ http: `http://[${host}]` }, "127.0.0.1", /^http: \S+ is not an address that other nodes can reach/],
        [{ http: "http://10.0.0.2", peer: { host, port: 1 } }, "127.0.0.1", /^peer: \S+ is not an address/],
        [{ http: "http://10.0.0.2", addresses: [host] }, "127.0.0.1", /^addresses: \S+ is not an address/],
      ],
    ),
    ...["64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "::7f00:1", "2002:7f00:1::1"].map((host): [object, string, RegExp] => [
      { http: `http://[${host}]` },
      "192.0.2.7",
      /^http: \S+ is the machine/,
    ]),
  ];
  for (const [wanted, client, says] of rows) {
    const check = (): void => {
      mustBeReachable({ site: "fra", addresses: [], http: "", ...wanted }, from(client));
    };
    if (says === undefined) check();
    else assert.throws(check, { code: "BAD_PARAMETER", message: says }, JSON.stringify(wanted));
  }
});

test("nodes of both are drained and undrained; only those that joined can be removed", async (t) => {
  const origin = await startFleet(t);
  await register(origin, 201, machine(2));
  assert.deepEqual(await origin.json(200, "PUT", "/nodes/fra1/draining"), {
    name: "fra1",
    draining: true,
    revision: 2,
    unchanged: false,
  });
  await origin.json(200, "PUT", "/nodes/fra2/draining");
  assert.equal((await origin.json(200, "PUT", "/nodes/fra2/draining"))["unchanged"], true);
  assert.deepEqual((await rosterOf(origin)).draining, ["fra1", "fra2"]);
  await origin.json(200, "DELETE", "/nodes/fra1/draining");
  assert.equal((await origin.json(200, "DELETE", "/nodes/fra1/draining"))["unchanged"], true);

  const inDocument = await origin.json<Problem>(409, "DELETE", "/nodes/fra1");
  assert.match(inDocument.detail, /fra1 is a node of the fleet document/);
  for (const [method, path] of [
    ["DELETE", "/nodes/fra7"],
    ["PUT", "/nodes/fra7/draining"],
    ["DELETE", "/nodes/fra7/draining"],
  ] as const) {
    const problem = await origin.json<Problem>(404, method, path);
    assert.match(problem.detail, /no node "fra7"; it has fra1, fra2, nyc1/);
    assert.deepEqual(problem.nodes, ["fra1", "fra2", "nyc1"]);
  }
  assert.deepEqual(await origin.json(200, "DELETE", "/nodes/fra2"), { name: "fra2", revision: 5 });
  assert.deepEqual(await rosterOf(origin), { revision: 5, nodes: [], draining: [] }, "its mark went with it");
});

test("a mark outlives the document's node and can be taken away; who joins under the name has none", async (t) => {
  const origin = await startFleet(t);
  await origin.json(200, "PUT", "/nodes/fra1/draining");
  await origin.json(200, "PUT", "/nodes/nyc1/draining");
  const renamed = document.replace("name: fra1", "name: fra8").replace("name: nyc1", "name: nyc8");
  const answer = await origin.call("PUT", "/fleet", { body: renamed });
  assert.ok(answer.ok, await answer.text());
  await origin.json(200, "DELETE", "/nodes/nyc1/draining");
  assert.equal((await register(origin, 201, machine(2, { name: "fra1" }))).node.name, "fra1");
  assert.deepEqual((await rosterOf(origin)).draining, []);
});

test("a registration that the document has overtaken can be removed", async (t) => {
  const origin = await startFleet(t);
  await register(origin, 201, machine(2, { name: "fra8" }));
  const answer = await origin.call("PUT", "/fleet", { body: document.replace("name: fra1", "name: fra8") });
  assert.ok(answer.ok);
  await origin.json(200, "DELETE", "/nodes/fra8");
  await origin.json(409, "DELETE", "/nodes/fra8");
});

test("each change is one event, with the revision that it made; what changes nothing is none", async (t) => {
  const origin = await startFleet(t);
  await register(origin, 201, machine(2));
  await register(origin, 200, machine(2));
  await origin.json(200, "PUT", "/nodes/fra2/draining");
  await origin.json(200, "PUT", "/nodes/fra2/draining");
  await origin.json(200, "DELETE", "/nodes/fra2");
  await origin.json(404, "DELETE", "/nodes/fra2");
  assert.deepEqual(
    (await readLog(origin.url, origin.tokens.edge)).filter(({ kind }) => kind === "roster"),
    [1, 2, 3].map((revision) => ({ kind: "roster", value: { revision } })),
  );
});

test("joins at one time get different names, and lose none", async (t) => {
  const origin = await startFleet(t);
  const joined = await Promise.all(
    Array.from({ length: 20 }, (_, index) => register(origin, 201, machine(10 + index))),
  );
  assert.equal(new Set(joined.map(({ node }) => node.name)).size, 20);
  assert.equal(new Set(joined.map(({ revision }) => revision)).size, 20);
  assert.equal((await rosterOf(origin)).revision, 20);
});

test("it is there after a restart", async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await startFleet(t, dataDir);
  await register(first, 201, machine(2, { peer: { host: "10.0.0.2", port: 9000 } }));
  await first.json(200, "PUT", "/nodes/fra1/draining");
  const before = await rosterOf(first);
  await first.close();
  const again = await startFleet(t, dataDir);
  assert.deepEqual(await rosterOf(again), before);
  assert.equal((await register(again, 201, machine(3))).revision, 3);
});

test("a change whose event the disk refuses is none", async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const file = join(dataDir, "catalogue.sqlite");
  const catalogue = openSqliteCatalogue(file, wideLimits, systemClock);
  t.after(catalogue.close);
  const before = await catalogue.roster();
  const disk = new DatabaseSync(file);
  disk.exec("CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'full'); END");
  const add = { kind: "add", node: { name: "fra2", ...machine(2) } } as const;
  await assert.rejects(
    catalogue.changeRoster(tester, () => add),
    /full/,
  );
  disk.exec("DROP TRIGGER full");
  disk.close();
  assert.deepEqual(await catalogue.roster(), before);
  assert.deepEqual((await catalogue.changeRoster(tester, () => add)).revision, 1);
});

test(`there are at most ${rosterNodesMax} nodes and marks, and names are still found near that`, async () => {
  const nodes = Array.from({ length: rosterNodesMax - 1 }, (_, index) => ({
    ...machine(1),
    name: `fra${index + 2}`,
    http: `http://h${index}.test`,
    addresses: [],
  }));
  let roster: Roster = { revision: 7, nodes, draining: Array.from({ length: rosterNodesMax }, (_, i) => `x${i}`) };
  const fleet = { version: 1, author: "a", createdMs: 0, summary: "", fromVersion: undefined, text: document };
  const keeper = openRosterKeeper(
    {
      roster: async () => roster,
      fleet: async () => fleet,
      async changeRoster(_actor, decide) {
        const change = decide(roster, fleet);
        if (change?.kind === "add") {
          roster = { ...roster, revision: roster.revision + 1, nodes: [...roster.nodes, change.node] };
        }
        return roster;
      },
    },
    openFleetReader().read,
    { nodesPerTokenMax: rosterNodesMax, nodesPerAddressMax: rosterNodesMax },
  );
  const isConflict = (error: unknown): boolean => error instanceof NearcastError && error.code === "NODE_CONFLICT";
  assert.equal((await keeper.join(machine(2), tester)).node.name, `fra${rosterNodesMax + 1}`);
  await assert.rejects(keeper.join(machine(3), tester), isConflict);
  await assert.rejects(keeper.setDraining("fra5", true, tester), isConflict);
});

test("every acknowledged join outlives kill -9, with one event for each", async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const acknowledged = new Set<string>();
  let last = 0;
  for (let round = 0; round < 4; round += 1) {
    const { child, url } = await startProcess(dataDir);
    t.after(() => child.kill("SIGKILL"));
    const tokenOf = async (kind: string): Promise<string> =>
      (await readFile(join(dataDir, "secrets", `${kind}.token`), "utf8")).trim();
    const [edge, writer] = await Promise.all([tokenOf("edge"), tokenOf("writer")]);
    if (round === 0) {
      const headers = { authorization: `Bearer ${writer}` };
      await (await fetch(`${url}/api/v1/fleet`, { method: "PUT", headers, body: document })).arrayBuffer();
    }
    const headers = { authorization: `Bearer ${edge}`, "content-type": "application/json" };
    const roster = (await (await fetch(`${url}/api/v1/nodes`, { headers })).json()) as Roster;
    const names = new Set(roster.nodes.map(({ name }) => name));
    for (const name of acknowledged) assert.ok(names.has(name), `${name} is lost`);
    const told = (await readLog(url, edge)).filter(({ kind }) => kind === "roster");
    assert.deepEqual(
      told.map(({ value }) => (value as { revision: number }).revision),
      Array.from({ length: roster.revision }, (_, index) => index + 1),
    );
    assert.equal(roster.nodes.length, roster.revision);
    let left = 8;
    const joining = async (): Promise<void> => {
      while (left > 0) {
        last += 1;
        const body = JSON.stringify(machine(1, { http: `http://m${last}.test`, addresses: [] }));
        const answer = await fetch(`${url}/api/v1/nodes`, { method: "POST", headers, body });
        acknowledged.add(((await answer.json()) as Joined).node.name);
        left -= 1;
        if (left === 0) child.kill("SIGKILL");
      }
    };
    const ended = once(child, "exit");
    await Promise.allSettled([joining(), joining(), joining()]);
    child.kill("SIGKILL"); // should no answer have brought it so far
    await ended;
  }
  assert.ok(acknowledged.size >= 32);
});

const main = fileURLToPath(new URL("../../origin/main.ts", import.meta.url));

async function startProcess(dataDir: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [main, "--data", dataDir, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NEARCAST_ORIGIN_LOG__LEVEL: "warn" },
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /listens at (http:\S+)/.exec(line)?.[1];
    if (url !== undefined) return { child, url };
  }
  throw new Error("the origin ended before it listened");
}

/** All events that are in the log now. */
async function readLog(url: string, token: string): Promise<{ kind: string; value: unknown }[]> {
  const leaving = new AbortController();
  const answer = await fetch(`${url}/api/v1/feed?since=0`, {
    headers: { authorization: `Bearer ${token}` },
    signal: leaving.signal,
  });
  const read = createEventStreamReader();
  const events: { kind: string; value: unknown }[] = [];
  let latestSeq: number | undefined;
  for await (const bytes of answer.body ?? []) {
    for (const { event, data } of read(Buffer.from(bytes))) {
      const value = JSON.parse(data) as { latestSeq?: number };
      if (event === "hello") latestSeq = value.latestSeq;
      else events.push({ kind: event, value });
    }
    if (events.length === latestSeq) break;
  }
  leaving.abort();
  return events;
}

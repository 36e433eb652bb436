/** The audit log: who changed what, and that no change can be made without its entry. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { noPrecondition } from "../../origin/precondition.ts";
import { tokenId } from "#secret/edge-token.ts";
import { fakeClock } from "../support/fake-clock.ts";
import {
  fleetExample,
  jpeg,
  type Scope,
  startTestOrigin,
  temporaryDirectory,
  type TestOrigin,
} from "./running-origin.ts";
import { tester, wideLimits } from "./tester.ts";

interface Entry {
  id: number;
  at: string;
  kind: string;
  author: string;
  token?: { kind: string; id: string };
  address?: string;
  targets: string[];
  targetCount: number;
  facts: Record<string, unknown>;
}
interface Page {
  entries: Entry[];
  next?: number;
}

function scopeOf(t: TestContext): Scope {
  return { after: (cleanUp) => t.after(cleanUp) };
}

const json = { "content-type": "application/json" };

async function entriesOf(origin: TestOrigin, query = ""): Promise<Entry[]> {
  return (await origin.json<Page>(200, "GET", `/audit?${query}`)).entries;
}

interface Case {
  /** As the OpenAPI document names it. */
  route: string;
  call: [method: string, path: string, body?: string | Buffer];
  kind: string;
  targets?: string[];
  facts?: Record<string, unknown>;
  token?: "edge";
}

const node = { name: "fra2", site: "fra", http: "http://192.0.2.9:8080", addresses: ["192.0.2.9"] };

/** One call for each route that changes something, in an order in which each of them does. */
async function cases(): Promise<Case[]> {
  const rollback: Case["call"] = ["POST", "/rollbacks", JSON.stringify({ name: "shop/a.jpg" })];
  const purge: Case["call"] = ["POST", "/purges", JSON.stringify({ names: ["shop/a.jpg"], tags: ["red"] })];
  return [
    {
      route: "PUT /api/v1/images/{path}",
      call: ["PUT", "/images/shop/a.jpg", await jpeg(1)],
      kind: "put",
      targets: ["shop/a.jpg"],
      facts: { version: 1 },
    },
    {
      route: "DELETE /api/v1/images/{path}",
      call: ["DELETE", "/images/shop/a.jpg"],
      kind: "rm",
      targets: ["shop/a.jpg"],
      facts: { version: 2, versionBefore: 1 },
    },
    {
      route: "POST /api/v1/rollbacks",
      call: rollback,
      kind: "rollback",
      targets: ["shop/a.jpg"],
      facts: { version: 3, versionBefore: 2, fromVersion: 1 },
    },
    {
      route: "POST /api/v1/purges",
      call: purge,
      kind: "purge",
      targets: ["shop/a.jpg", "red"],
      facts: { seq: 4, tags: ["red"], soft: false },
    },
    {
      route: "PUT /api/v1/fleet",
      call: ["PUT", "/fleet", fleetExample(["fra"])],
      kind: "fleet-apply",
      facts: { version: 1, summary: "first version: 1 zone, 1 site, 1 host" },
    },
    {
      route: "PUT /api/v1/fleet",
      call: ["PUT", "/fleet", fleetExample(["fra", "nyc"])],
      kind: "fleet-apply",
      facts: { version: 2, versionBefore: 1, summary: "site nyc added" },
    },
    {
      route: "POST /api/v1/fleet/rollbacks",
      call: ["POST", "/fleet/rollbacks?force=true", "{}"],
      kind: "fleet-rollback",
      facts: { version: 3, versionBefore: 2, fromVersion: 1, summary: "site nyc removed", force: true },
    },
    { route: "POST /api/v1/fleet/secret/rotations", call: ["POST", "/fleet/secret/rotations"], kind: "secret-rotate" },
    {
      route: "POST /api/v1/nodes",
      call: ["POST", "/nodes", JSON.stringify(node)],
      kind: "join",
      targets: ["fra2"],
      facts: { site: "fra", http: node.http, addresses: node.addresses, revision: 1 },
      token: "edge",
    },
    {
      route: "PUT /api/v1/nodes/{name}/draining",
      call: ["PUT", "/nodes/fra2/draining"],
      kind: "drain",
      targets: ["fra2"],
      facts: { revision: 2 },
    },
    {
      route: "DELETE /api/v1/nodes/{name}/draining",
      call: ["DELETE", "/nodes/fra2/draining"],
      kind: "undrain",
      targets: ["fra2"],
      facts: { revision: 3 },
    },
    {
      route: "DELETE /api/v1/nodes/{name}",
      call: ["DELETE", "/nodes/fra2"],
      kind: "remove",
      targets: ["fra2"],
      facts: { site: "fra", http: node.http, addresses: node.addresses, revision: 4 },
    },
    {
      route: "POST /api/v1/tokens/{kind}/rotations",
      call: ["POST", "/tokens/edge/rotations", "{}"],
      kind: "token-rotate",
      facts: { token: "edge" },
    },
    {
      route: "DELETE /api/v1/tokens/{kind}/older",
      call: ["DELETE", "/tokens/edge/older"],
      kind: "token-retire",
      facts: { token: "edge", retired: 1 },
    },
  ];
}

/** Routes that are called by POST because they take a body, and change nothing that is kept. */
const changeless: Readonly<Record<string, string>> = {
  "POST /api/v1/nodes/questions": "asks nodes what they would tell their owner",
  "POST /api/v1/channel/introductions": "says who follows the feed, until the connection ends",
  "POST /api/v1/channel/presence": "says that the node is there",
  "POST /api/v1/channel/answers": "answers a question",
  "POST /api/v1/channel/purge-reports": "says what a purge found; the purge itself has its entry",
};

test("every route that changes something leaves one entry: who, with which token, from where, and what", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const table = await cases();
  const document = (await (await fetch(`${origin.url}/api/openapi.json`)).json()) as { paths: Record<string, object> };
  const changing = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations)
      .filter((method) => method !== "get" && method !== "head")
      .map((method) => `${method.toUpperCase()} ${path}`),
  );
  const listed = new Set([...table.map(({ route }) => route), ...Object.keys(changeless)]);
  assert.deepEqual([...listed].toSorted(), changing.toSorted());

  for (const { route, call, kind, targets = [], facts = {}, token = "writer" } of table) {
    const [method, path, body] = call;
    const [before] = await entriesOf(origin, "limit=1");
    const headers = { "nearcast-author": "ada", ...(typeof body === "string" && path !== "/fleet" ? json : {}) };
    const answer = await origin.call(method, path, {
      token: origin.tokens[token],
      headers,
      ...(body === undefined ? {} : { body }),
    });
    assert.ok(answer.ok, `${route}: ${answer.status} ${await answer.text()}`);
    const [entry, ...others] = (await entriesOf(origin)).filter(({ id }) => id > (before?.id ?? 0));
    assert.ok(entry !== undefined && others.length === 0, `${route}: ${others.length + 1} entries`);
    assert.deepEqual(
      [entry.kind, entry.author, entry.token, entry.address, entry.targets, entry.targetCount],
      [kind, "ada", { kind: token, id: tokenId(origin.tokens[token]) }, "127.0.0.1", targets, targets.length],
      route,
    );
    assert.deepEqual({ ...entry.facts, ...facts }, entry.facts, route);
    assert.ok(Math.abs(Date.parse(entry.at) - Date.now()) < 60_000, entry.at);
    const text = JSON.stringify(entry);
    for (const secret of Object.values(origin.tokens)) assert.equal(text.includes(secret), false, route);
  }
});

test("what changed nothing leaves no entry", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const body = await jpeg(1);
  await origin.json(201, "PUT", "/images/a.jpg", { body });
  await origin.json(200, "PUT", "/images/a.jpg", { body });
  await origin.json(412, "PUT", "/images/a.jpg", { body: await jpeg(2), headers: { "if-none-match": "*" } });
  await origin.json(404, "DELETE", "/images/b.jpg");
  await origin.json(404, "PUT", "/nodes/fra1/draining");
  await origin.json(422, "PUT", "/fleet", { body: "sites: 7" });
  assert.deepEqual(
    (await entriesOf(origin)).map(({ kind }) => kind),
    ["put"],
  );
});

test("who purged this: a purge is found by each name that it covers", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const purge = async (author: string, body: object): Promise<void> => {
    const headers = { ...json, "nearcast-author": author };
    await origin.json(202, "POST", "/purges", { body: JSON.stringify(body), headers });
  };
  const names = Array.from({ length: 1000 }, (_, index) => `many/${index}.jpg`);
  await purge("by name", { names: ["shop/chair.jpg", "shop/table.jpg"] });
  await purge("by prefix", { prefix: "shop/" });
  await purge("by another prefix", { prefix: "shop/chairs" });
  await purge("by host", { hosts: ["IMG.cdn.test"] });
  await purge("by tag", { tags: ["red"] });
  await purge("of all", { all: true });
  await purge("of many", { names });
  const authors = async (query: string): Promise<string[]> =>
    (await entriesOf(origin, query)).map(({ author }) => author).toReversed();
  assert.deepEqual(await authors("name=shop/chair.jpg"), ["by name", "by prefix", "by host", "of all"]);
  assert.deepEqual(await authors("name=shop/chairs/1.jpg"), ["by prefix", "by another prefix", "by host", "of all"]);
  assert.deepEqual(await authors("name=img.cdn.test"), ["by host", "of all"]);
  assert.deepEqual(await authors("name=red"), ["by host", "by tag", "of all"]);
  assert.deepEqual(await authors("name=many/999.jpg"), ["by host", "of all", "of many"]);
  assert.deepEqual(await authors("kind=purge&author=by%20tag"), ["by tag"]);
  const [many] = await entriesOf(origin, "author=of%20many");
  assert.deepEqual([many?.targets.length, many?.targetCount], [20, 1000]);
});

test("pages join without a gap, and a time leaves the older ones out", async (t) => {
  const clock = fakeClock();
  const { catalogue } = await openCatalogue(t, { clock });
  for (let count = 1; count <= 25; count += 1) {
    await catalogue.purge({ reason: "purge", names: [`${count}.jpg`] }, tester);
    clock.advance(60_000);
  }
  const seen: number[] = [];
  for (let beforeId: number | undefined; ;) {
    const page = await catalogue.audit({ limit: 10, beforeId });
    seen.push(...page.map(({ id }) => id));
    beforeId = page.at(-1)?.id;
    if (page.length < 10) break;
  }
  assert.deepEqual(
    seen,
    Array.from({ length: 25 }, (_, index) => 25 - index),
  );
  assert.equal((await catalogue.audit({ limit: 100, sinceMs: clock.wallMs() - 5 * 60_000 })).length, 5);
});

test("an unreadable question is answered by what is allowed", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  for (const query of ["since=yesterday", "kind=purges", "limit=1001", "before=0", "who=ada"]) {
    assert.equal((await origin.json(400, "GET", `/audit?${query}`))["code"], "BAD_PARAMETER", query);
  }
});

test("X-Forwarded-For is believed from the proxies that the settings name, and from nobody else", async (t) => {
  const forwarded = { "x-forwarded-for": "203.0.113.9, 198.51.100.7", "content-type": "application/json" };
  const table: [string[], string][] = [
    [[], "127.0.0.1"],
    [["192.0.2.0/24"], "127.0.0.1"],
    [["127.0.0.1"], "198.51.100.7"],
    [["127.0.0.0/8", "198.51.100.7"], "203.0.113.9"],
  ];
  for (const [trustedProxies, address] of table) {
    const origin = await startTestOrigin(scopeOf(t), { config: { listen: { trustedProxies } } });
    await origin.json(202, "POST", "/purges", { body: `{"all":true}`, headers: forwarded });
    assert.equal((await entriesOf(origin))[0]?.address, address, trustedProxies.join());
  }
});

async function openCatalogue(t: TestContext, { clock = systemClock, limits = wideLimits } = {}) {
  const path = join(await temporaryDirectory(scopeOf(t)), "catalogue.sqlite");
  const catalogue = openSqliteCatalogue(path, limits, clock);
  t.after(catalogue.close);
  return { catalogue, path };
}

const blob = {
  sha256: "a".repeat(64),
  sizeBytes: 1,
  type: "jpeg",
  width: 1,
  height: 1,
  frames: 1,
  hasAlpha: false,
} as const;

test("a change whose entry can't be written is not there either, nor is its event", async (t) => {
  const { catalogue, path } = await openCatalogue(t);
  const change = { actor: tester, precondition: noPrecondition };
  const saboteur = new DatabaseSync(path);
  saboteur.exec("CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room'); END");
  saboteur.close();
  const failed = { code: "DISK_FAILED" };
  await assert.rejects(catalogue.put("a", blob, change), failed);
  await assert.rejects(catalogue.purge({ reason: "purge", all: true }, tester), failed);
  await assert.rejects(
    catalogue.publishFleet("text", change, () => ""),
    failed,
  );
  await assert.rejects(catalogue.announceSecret("id", tester), failed);
  await assert.rejects(
    catalogue.changeRoster(tester, () => ({ kind: "drain", name: "fra1" })),
    failed,
  );
  assert.equal(await catalogue.version("a"), undefined);
  assert.equal(await catalogue.fleet(), undefined);
  assert.deepEqual((await catalogue.roster()).draining, []);
  assert.equal((await catalogue.feedBounds()).latestSeq, 0);
});

test("an entry is final", async (t) => {
  const { catalogue, path } = await openCatalogue(t);
  await catalogue.purge({ reason: "purge", all: true }, tester);
  const forger = new DatabaseSync(path);
  t.after(() => {
    forger.close();
  });
  assert.throws(() => forger.exec("UPDATE audit SET author = 'nobody'"), /final/);
});

test("entries that an earlier release wrote are read and found by today's names of their kinds", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const former = new DatabaseSync(join(origin.dataDir, "catalogue.sqlite"));
  t.after(() => former.close());
  const insert = former.prepare(
    `INSERT INTO audit (at_ms, kind, mark, author, targets, target_count, facts)
     VALUES (?, ?, 1, 'ada', '[]', 0, '{}')`,
  );
  for (const kind of ["apply", "leave"]) insert.run(Date.now(), kind);
  await origin.json(201, "PUT", "/fleet", { body: fleetExample(["fra"]) });
  const kindsOf = async (query: string): Promise<string[]> => (await entriesOf(origin, query)).map(({ kind }) => kind);
  assert.deepEqual(await kindsOf(""), ["fleet-apply", "remove", "fleet-apply"]);
  assert.deepEqual(await kindsOf("kind=fleet-apply"), ["fleet-apply", "fleet-apply"]);
  assert.deepEqual(
    await kindsOf("kind=apply"),
    ["fleet-apply", "fleet-apply"],
    "scripts may still ask by the old name",
  );
  assert.deepEqual(await kindsOf("kind=leave"), ["remove"]);
});

test("a flood of one kind drops only entries of its own kind, and a purge weighs what it names", async (t) => {
  const { catalogue } = await openCatalogue(t, { limits: { ...wideLimits, auditEntries: 30 } });
  await catalogue.record(tester, { kind: "backup", targets: [], facts: {} });
  for (let count = 0; count < 100; count += 1) {
    await catalogue.record(tester, { kind: "verify", targets: [], facts: { count } });
  }
  const names = (from: number, count: number): string[] => Array.from({ length: count }, (_, i) => `${from + i}.jpg`);
  await catalogue.purge({ reason: "purge", names: names(0, 20) }, tester);
  await catalogue.purge({ reason: "purge", names: names(20, 10) }, tester);
  assert.equal((await catalogue.audit({ kind: "purge", limit: 100 })).length, 2);
  await catalogue.purge({ reason: "purge", names: names(30, 20) }, tester);
  assert.equal((await catalogue.audit({ kind: "purge", limit: 100 })).length, 2);
  assert.equal((await catalogue.audit({ name: "0.jpg", limit: 100 })).length, 0);
  assert.equal((await catalogue.audit({ name: "20.jpg", limit: 100 })).length, 1);
  await catalogue.purge({ reason: "purge", names: names(100, 50) }, tester);
  assert.equal((await catalogue.audit({ kind: "purge", limit: 100 })).length, 1);
  assert.equal((await catalogue.audit({ kind: "verify", limit: 100 })).length, 30);
  assert.equal((await catalogue.audit({ kind: "backup", limit: 100 })).length, 1);
});

test("entries go when they are older than the settings say", async (t) => {
  const clock = fakeClock();
  const { catalogue, path } = await openCatalogue(t, { clock, limits: { ...wideLimits, auditDays: 2 } });
  await catalogue.purge({ reason: "purge", names: ["a"] }, tester);
  clock.advance(86_400_000);
  await catalogue.purge({ reason: "purge", names: ["b"] }, tester);
  clock.advance(86_400_001);
  await catalogue.purge({ reason: "purge", names: ["c"] }, tester);
  assert.deepEqual(
    (await catalogue.audit({ limit: 10 })).map(({ targets }) => targets[0]),
    ["c", "b"],
  );
  const reader = new DatabaseSync(path);
  assert.equal(reader.prepare("SELECT count(*) AS count FROM audit_targets").get()?.["count"], 2);
  reader.close();
});

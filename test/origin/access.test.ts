/** Who may do what, and how the tokens are kept. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { type Clock, systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type Log, silentLog } from "#base/log.ts";
import { tokenId } from "#secret/edge-token.ts";
import { openSqliteCatalogue } from "../../origin/catalogue/sqlite.ts";
import { openRefusals } from "../../origin/refused-tokens.ts";
import { tokenKinds } from "../../origin/token/token-kind.ts";
import { openTokens, type TokenDeps, type Tokens } from "../../origin/token/tokens.ts";
import { codeOf, jpeg, raw, startTestOrigin, statusOf, temporaryDirectory, wholeFile } from "./running-origin.ts";
import { fakeClock } from "../support/fake-clock.ts";
import { tester, wideLimits } from "./tester.ts";

const origin = await startTestOrigin(wholeFile);

test("every route lets in exactly those who may", async () => {
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  // What the writer is answered, where it is not 2xx for want of something to act on.
  const routes: [string, string, "anybody" | "edge" | "edge-only" | "writer"][] = [
    ["GET", "/images/a.jpg", "edge"],
    ["HEAD", "/images/a.jpg", "edge"],
    ["PUT", "/images/b.jpg", "writer"],
    ["DELETE", "/images/c.jpg", "writer"],
    ["GET", "/images", "writer"],
    ["GET", "/versions/a.jpg", "writer"],
    ["POST", "/rollbacks", "writer"],
    ["POST", "/purges", "writer"],
    ["GET", "/verifications", "writer"],
    ["GET", "/fleet", "edge"],
    ["PUT", "/fleet", "writer"],
    ["GET", "/fleet/versions", "writer"],
    ["POST", "/fleet/rollbacks", "writer"],
    ["GET", "/fleet/secret", "edge-only"],
    ["POST", "/fleet/secret/rotations", "writer"],
    ["GET", "/nodes", "edge"],
    ["POST", "/nodes", "edge"],
    ["DELETE", "/nodes/fra1", "writer"],
    ["PUT", "/nodes/fra1/draining", "writer"],
    ["DELETE", "/nodes/fra1/draining", "writer"],
    ["GET", "/nodes/connected", "writer"],
    ["POST", "/nodes/questions", "writer"],
    ["GET", "/purges/1", "writer"],
    ["POST", "/channel/introductions", "edge-only"],
    ["POST", "/channel/presence", "edge-only"],
    ["POST", "/channel/answers", "edge-only"],
    ["POST", "/channel/purge-reports", "edge-only"],
    ["GET", "/feed?since=x", "edge"],
    ["GET", "/audit", "writer"],
    ["GET", "/tokens", "writer"],
    ["GET", "/tokens/edge/current", "edge-only"],
    ["POST", "/tokens/edge/rotations", "writer"],
    ["DELETE", "/tokens/edge/older", "writer"],
    ["GET", `${origin.url}/healthz`, "anybody"],
    ["GET", `${origin.url}/metrics`, "edge"],
    ["GET", `${origin.url}/api/openapi.json`, "anybody"],
  ];
  const presented: [string, string | null, readonly string[]][] = [
    ["no token", null, ["anybody"]],
    ["an unknown token", "x".repeat(43), ["anybody"]],
    ["the edge's token", origin.tokens.edge, ["anybody", "edge", "edge-only"]],
    ["the writer's token", origin.tokens.writer, ["anybody", "edge", "writer"]],
  ];
  for (const [method, path, access] of routes) {
    for (const [who, token, mayDo] of presented) {
      const answer = await origin.call(method, path, { token });
      await answer.arrayBuffer();
      const row = `${method} ${path} with ${who}: ${answer.status}`;
      const challenge = answer.headers.get("www-authenticate");
      if (mayDo.includes(access)) {
        assert.ok(answer.status !== 401 && answer.status !== 403, row);
        continue;
      }
      const isKnown = token === origin.tokens.edge || token === origin.tokens.writer;
      assert.equal(answer.status, isKnown ? 403 : 401, row);
      assert.match(challenge ?? "", /^Bearer realm="nearcast"/, row);
      assert.equal(challenge?.includes("error="), token !== null, row);
    }
  }
});

test("only the exact form of a bearer header is read", async () => {
  const { writer } = origin.tokens;
  const table: [string, number][] = [
    [`Authorization: Bearer ${writer}`, 200],
    [`authorization: bearer ${writer}`, 200],
    [`Authorization: Bearer  ${writer}`, 401],
    [`Authorization: Bearer ${writer} x`, 401],
    [`Authorization: Bearer ${writer},Bearer ${writer}`, 401],
    [`Authorization: Bearer ${writer.slice(0, -1)}`, 401],
    [`Authorization: Bearer`, 401],
    [`Authorization: ${writer}`, 401],
    [`Authorization: Basic ${writer}`, 401],
    [`Authorization: Bearer ${"x".repeat(10_000)}`, 401],
    [`X-Authorization: Bearer ${writer}`, 401],
  ];
  for (const [header, status] of table) {
    const answer = await raw(
      origin.port,
      `GET /api/v1/images HTTP/1.1\r\nHost: x\r\n${header}\r\nConnection: close\r\n\r\n`,
    );
    assert.equal(statusOf(answer), status, header.slice(0, 80));
    if (status === 401) assert.equal(codeOf(answer), "UNAUTHORIZED");
  }
});

async function openIn(
  t: TestContext,
  directory: string,
  clock: Clock = systemClock,
  around: (catalogue: TokenDeps["catalogue"]) => TokenDeps["catalogue"] = (catalogue) => catalogue,
  log: Log = silentLog,
) {
  const secretsDir = join(directory, "secrets");
  await mkdir(secretsDir, { recursive: true, mode: 0o700 });
  const catalogue = openSqliteCatalogue(join(directory, "catalogue.sqlite"), wideLimits, clock);
  const settings = { overlapMs: 86_400_000, changed: () => undefined, clock, log };
  const deps = { ...settings, secretsDir, catalogue: around(catalogue) };
  const close = async (tokens?: Tokens): Promise<void> => {
    tokens?.close();
    await catalogue.close();
  };
  try {
    const tokens = await openTokens(deps);
    t.after(async () => {
      await close(tokens);
    });
    return { tokens, catalogue, secretsDir, close: async () => await close(tokens) };
  } catch (error) {
    await close();
    throw error;
  }
}

const readToken = async (file: string): Promise<string> => (await readFile(file, "utf8")).trim();

test("tokens are made once, for the owner's eyes only", async (t) => {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await openIn(t, directory);
  for (const file of Object.values(first.tokens.files)) {
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.match(await readFile(file, "utf8"), /^[A-Za-z0-9_-]{43}\n$/);
  }
  assert.equal((await stat(first.secretsDir)).mode & 0o777, 0o700);
  const writer = await readToken(first.tokens.files.writer);
  await first.close();
  const second = await openIn(t, directory);
  assert.deepEqual(second.tokens.judge(`Bearer ${writer}`), { outcome: "known", kind: "writer", id: tokenId(writer) });
  assert.deepEqual(await second.catalogue.audit({ limit: 10 }), [], "a first start and a restart change nothing");
});

test("a file that was deleted while the origin was stopped means a new token, and time for the old one", async (t) => {
  const clock = fakeClock();
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await openIn(t, directory, clock);
  const old = await readToken(first.tokens.files.edge);
  await first.close();
  await unlink(first.tokens.files.edge);
  const second = await openIn(t, directory, clock);
  const fresh = await readToken(second.tokens.files.edge);
  assert.notEqual(fresh, old);
  for (const token of [old, fresh]) assert.equal(second.tokens.judge(`Bearer ${token}`).outcome, "known");
  const [entry] = await second.catalogue.audit({ limit: 10 });
  assert.deepEqual(
    [entry?.kind, entry?.author, entry?.token, entry?.address, entry?.facts["idBefore"]],
    ["token-rotate", "origin", undefined, undefined, tokenId(old)],
  );
  clock.advance(86_400_000);
  assert.equal(second.tokens.judge(`Bearer ${old}`).outcome, "unknown");
  assert.equal(second.tokens.judge(`Bearer ${fresh}`).outcome, "known");
});

test("a token that the catalogue could not take is taken as soon as it can be", async (t) => {
  const clock = fakeClock();
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  let isFull = false;
  const { tokens } = await openIn(t, directory, clock, (catalogue) => ({
    ...catalogue,
    replaceToken: async (...change) => {
      if (isFull) throw new NearcastError("DISK_FAILED", "the disk is full");
      await catalogue.replaceToken(...change);
    },
  }));
  const file = tokens.files.writer;
  const taken = async (): Promise<string> => tokens.judge(`Bearer ${await readToken(file)}`).outcome;
  const steps: [string, () => Promise<unknown>][] = [
    [
      "rotated",
      async () => await assert.rejects(tokens.rotate("writer", { isHandedOut: true }, tester), /disk is full/),
    ],
    ["replaced by hand", async () => await writeFile(file, `${randomBytes(32).toString("base64url")}\n`)],
  ];
  for (const [what, step] of steps) {
    isFull = true;
    await step();
    clock.advance(2000);
    // An operation waits for its turn behind the look.
    await tokens.retire("edge", tester);
    assert.equal(await taken(), "unknown", what);
    isFull = false;
    clock.advance(2000);
    await tokens.retire("edge", tester);
    assert.equal(await taken(), "known", what);
  }
});

test("a token that others could read, or that is none, keeps the origin from starting", async (t) => {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const { tokens, close } = await openIn(t, directory);
  await close();
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(tokens.files.edge, mode);
    await assert.rejects(openIn(t, directory), /chmod 600/);
  }
  await chmod(tokens.files.edge, 0o600);
  await writeFile(tokens.files.edge, "");
  await assert.rejects(openIn(t, directory), /must hold a token/);
});

/** What can stand in a token file's place, and what is said of it. */
const notPlain: readonly (readonly [what: string, put: (file: string) => Promise<unknown>, said: string])[] = [
  ["a folder", async (file) => await mkdir(file), "must be a plain file with the token, but it is a folder"],
  [
    "a named pipe",
    async (file) => {
      assert.equal(spawnSync("mkfifo", ["-m", "600", file]).status, 0);
    },
    "must be a plain file with the token, but it is a named pipe",
  ],
  [
    "a link to a device",
    async (file) => await symlink("/dev/zero", file),
    "must be a plain file with the token, but it is a device",
  ],
  [
    "a link that leads nowhere",
    async (file) => await symlink("/nowhere/edge.token", file),
    "is a symbolic link to /nowhere/edge.token, which does not exist: if it is on a volume, mount the volume",
  ],
];

test("what is no plain file keeps the origin from starting, and is named; no token is made in its place", async (t) => {
  for (const [what, put, said] of notPlain) {
    const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
    const { tokens, close } = await openIn(t, directory);
    const file = tokens.files.edge;
    await close();
    await rename(file, `${file}.aside`);
    await put(file);
    await assert.rejects(openIn(t, directory), (error: Error) => {
      assert.ok(error.message.startsWith(`${file} ${said}`), `${what}: ${error.message}`);
      return true;
    });
    await rm(file, { recursive: true });
    await rename(`${file}.aside`, file);
    await openIn(t, directory);
  }
});

test("a running origin warns of what is no plain file, keeps its token, and takes the next good file", async (t) => {
  const clock = fakeClock();
  for (const [what, put, said] of notPlain) {
    const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
    const warned: { err: Error; file: string }[] = [];
    const warn = ((facts: { err: Error; file: string }) => warned.push(facts)) as Log["warn"];
    const { tokens } = await openIn(t, directory, clock, undefined, Object.assign(Object.create(silentLog), { warn }));
    const file = tokens.files.edge;
    const old = await readToken(file);
    await rename(file, `${file}.aside`);
    await put(file);
    for (let looks = 0; looks < 3; looks += 1) {
      clock.advance(2000);
      await tokens.retire("writer", tester); // takes its turn after the look
    }
    assert.deepEqual(
      warned.map((facts) => [facts.file, facts.err.message.startsWith(`${file} ${said}`)]),
      [[file, true]],
      what,
    );
    assert.equal(tokens.judge(`Bearer ${old}`).outcome, "known", what);
    assert.equal(tokens.list().length, 2, "no token is made in its place");
    // Deleted, it is a file that is not there: a new token is made, as always.
    await rm(file, { recursive: true });
    clock.advance(2000);
    await tokens.retire("writer", tester);
    assert.notEqual(await readToken(file), old, what);
    assert.equal(tokens.list().length, 3, what);
  }
});

test("a file with a token of the other kind keeps the origin from starting, whichever was copied", async (t) => {
  for (const kind of tokenKinds) {
    const other = kind === "writer" ? "edge" : "writer";
    for (const state of ["first start", "known to the catalogue", "rotated away since"]) {
      const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
      const { tokens, close } = await openIn(t, directory);
      const token = await readToken(tokens.files[other]);
      if (state === "rotated away since") await tokens.rotate(other, { isHandedOut: true }, tester);
      await close();
      if (state === "first start") await rm(join(directory, "catalogue.sqlite"));
      await writeFile(tokens.files[kind], `${token}\n`, { mode: 0o600 });
      await assert.rejects(openIn(t, directory), (error: Error) => {
        // On a first start nobody can tell which of the two is the copy: the writer's is refused.
        const file = tokens.files[state === "first start" ? "writer" : kind];
        assert.ok(error.message.startsWith(`${file} must hold the `), error.message);
        assert.ok(error.message.includes(`delete ${file}`), error.message);
        assert.ok(!error.message.includes(token), "the token is not told");
        return true;
      });
      await unlink(tokens.files[state === "first start" ? "writer" : kind]);
      await openIn(t, directory);
    }
  }
});

test("a running origin takes no token of the other kind, and ends none that the other file holds", async (t) => {
  const clock = fakeClock();
  for (const kind of tokenKinds) {
    const other = kind === "writer" ? "edge" : "writer";
    const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
    const { tokens } = await openIn(t, directory, clock);
    const own = await readToken(tokens.files[kind]);
    const others = await readToken(tokens.files[other]);
    await writeFile(tokens.files[kind], `${others}\n`);
    clock.advance(2000);
    // They take their turn after the look. What they would end is what the file would be taken for afterwards.
    const file = tokens.files[kind];
    const refused = {
      code: "CONFLICT",
      message: new RegExp(`^${file} must hold the \\w+ token, but it holds the ${other} token`),
    };
    await assert.rejects(tokens.rotate(other, { isHandedOut: true }, tester), refused);
    await assert.rejects(tokens.retire(other, tester), refused);
    const kindOf = (token: string): string | undefined =>
      tokens.list().find(({ id, expiresMs }) => id === tokenId(token) && expiresMs === undefined)?.kind;
    assert.deepEqual([kindOf(own), kindOf(others)], [kind, other]);
    // Its own rotation writes the file anew.
    const { token: fresh } = await tokens.rotate(kind, { isHandedOut: true }, tester);
    assert.equal(await readToken(file), fresh);
    await tokens.rotate(other, { isHandedOut: true }, tester);
  }
});

test("one new token in both files at once is nobody's", async (t) => {
  const clock = fakeClock();
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const { tokens } = await openIn(t, directory, clock);
  const next = "n".repeat(43);
  for (const file of Object.values(tokens.files)) await writeFile(file, next);
  clock.advance(2000);
  await tokens.retire("edge", tester);
  assert.equal(tokens.judge(`Bearer ${next}`).outcome, "unknown");
});

test("a running origin takes a changed file, and keeps its token while the file is none", async (t) => {
  const clock = fakeClock();
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const { tokens, catalogue } = await openIn(t, directory, clock);
  const file = tokens.files.writer;
  const old = await readToken(file);
  const next = "n".repeat(43);
  for (const bad of ["", next.slice(0, 20)]) {
    await writeFile(file, bad);
    clock.advance(2000);
    await tokens.retire("edge", tester); // takes its turn after the look
    assert.deepEqual((await catalogue.audit({ limit: 10 })).length, 0);
    assert.equal(tokens.judge(`Bearer ${old}`).outcome, "known");
  }
  await chmod(file, 0o644);
  await writeFile(file, next);
  clock.advance(2000);
  await tokens.retire("edge", tester);
  assert.equal(tokens.judge(`Bearer ${next}`).outcome, "unknown", "others can read it");
  await chmod(file, 0o600);
  clock.advance(2000);
  await tokens.retire("edge", tester);
  for (const token of [old, next]) assert.equal(tokens.judge(`Bearer ${token}`).outcome, "known");
  await unlink(file);
  clock.advance(2000);
  await tokens.retire("edge", tester);
  const made = await readToken(file);
  assert.deepEqual(
    tokens
      .list()
      .flatMap(({ kind, id }) => (kind === "writer" ? [id] : []))
      .toSorted(),
    [old, next, made].map(tokenId).toSorted(),
  );
});

test("after a rotation both tokens are accepted for a time; --now and retiring end the older one", async (t) => {
  const clock = fakeClock();
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await openIn(t, directory, clock);
  const outcomes = (tokens: Tokens, ...presented: string[]): string[] =>
    presented.map((token) => tokens.judge(`Bearer ${token}`).outcome);
  const one = await readToken(first.tokens.files.edge);
  const { token: two, id } = await first.tokens.rotate("edge", { overlapMs: 60_000, isHandedOut: true }, tester);
  assert.equal(await readToken(first.tokens.files.edge), two);
  assert.equal((await stat(first.tokens.files.edge)).mode & 0o777, 0o600);
  assert.deepEqual(outcomes(first.tokens, one, two), ["known", "known"]);
  assert.deepEqual(first.tokens.tellEdge({ kind: "edge", id: tokenId(one) }), {
    id,
    token: two,
    olderUntil: new Date(clock.wallMs() + 60_000).toISOString(),
  });
  assert.deepEqual(first.tokens.tellEdge({ kind: "edge", id }), { id });
  await first.close();

  const second = await openIn(t, directory, clock);
  assert.deepEqual(outcomes(second.tokens, one, two), ["known", "known"], "after a restart, too");
  clock.advance(60_000);
  assert.deepEqual(outcomes(second.tokens, one, two), ["unknown", "known"]);

  const { token: three } = await second.tokens.rotate("edge", { isHandedOut: false }, tester);
  assert.equal("token" in second.tokens.tellEdge({ kind: "edge", id }), false, "rotated by hand");
  assert.deepEqual(outcomes(second.tokens, two, three), ["known", "known"]);
  assert.equal(await second.tokens.retire("edge", tester), 1);
  assert.deepEqual(outcomes(second.tokens, two, three), ["unknown", "known"]);
  const { token: four } = await second.tokens.rotate("edge", { overlapMs: 0, isHandedOut: true }, tester);
  assert.deepEqual(outcomes(second.tokens, three, four), ["unknown", "known"]);

  for (let count = 0; count < 20; count += 1) await second.tokens.rotate("edge", { isHandedOut: true }, tester);
  assert.equal(
    second.tokens.list().filter(({ kind }) => kind === "edge").length,
    9,
    "the current one and 8 older ones",
  );
});

test("killed between the file and the catalogue, the origin goes on from the file and loses no token", async (t) => {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const first = await openIn(t, directory);
  const old = await readToken(first.tokens.files.edge);
  await first.close();
  const next = "n".repeat(43);
  await writeFile(first.tokens.files.edge, `${next}\n`, { mode: 0o600 });
  const { tokens, catalogue } = await openIn(t, directory);
  for (const token of [old, next]) assert.equal(tokens.judge(`Bearer ${token}`).outcome, "known");
  const [event] = await catalogue.eventsAfter(0, 10);
  assert.deepEqual([event?.kind, event?.json], ["token", JSON.stringify({ id: tokenId(next) })]);
});

test("refused attempts are counted, and written once a minute for each address and reason", async (t) => {
  const clock = fakeClock();
  const catalogue = openSqliteCatalogue(":memory:", wideLimits, clock);
  t.after(catalogue.close);
  const refusals = openRefusals({ catalogue, clock, log: silentLog });
  const route = "POST /api/v1/purges";
  const edge = { kind: "edge", id: "0123abcd" } as const;
  for (let count = 0; count < 1000; count += 1) {
    refusals.note({ address: "192.0.2.1", reason: "unknown", token: undefined, route });
    refusals.note({ address: `198.51.100.${count % 200}`, reason: "wrong-kind", token: edge, route });
  }
  assert.deepEqual(refusals.counts(), { malformed: 0, unknown: 1000, "wrong-kind": 1000 });
  assert.equal((await catalogue.audit({ limit: 1000 })).length, 0);
  await refusals.close();
  const entries = await catalogue.audit({ limit: 1000, kind: "refused" });
  assert.equal(entries.length, 65);
  assert.equal(
    entries.reduce((sum, { facts }) => sum + Number(facts["count"]), 0),
    2000,
  );
  const guesses = entries.find(({ address }) => address === "192.0.2.1");
  assert.deepEqual(
    [guesses?.token, guesses?.author, guesses?.facts],
    [undefined, "unknown", { count: 1000, status: 401, route }],
  );
  const forbidden = entries.find(({ address }) => address === "198.51.100.7");
  assert.deepEqual([forbidden?.token, forbidden?.author, forbidden?.facts["status"]], [edge, "edge", 403]);
});

test("who asked for the feed with an unknown token is known for a minute, of 64 addresses at most", async (t) => {
  const clock = fakeClock();
  const catalogue = openSqliteCatalogue(":memory:", wideLimits, clock);
  t.after(catalogue.close);
  const refusals = openRefusals({ catalogue, clock, log: silentLog });
  t.after(refusals.close);
  const [feed, others] = ["GET /api/v1/feed", "GET /api/v1/images"];
  const note = (host: number, reason: "unknown" | "malformed", route: string): void =>
    refusals.note({ address: `198.51.100.${host}`, reason, token: undefined, route });
  note(1, "unknown", others);
  note(2, "malformed", feed);
  assert.deepEqual(refusals.unknownEdges(), [], "a person with a wrong token, and one with none, are no edges");
  note(3, "unknown", feed);
  clock.advance(2000);
  note(4, "unknown", feed);
  clock.advance(3000);
  assert.deepEqual(refusals.unknownEdges(), [
    { address: "198.51.100.4", agoMs: 3000 },
    { address: "198.51.100.3", agoMs: 5000 },
  ]);
  note(3, "unknown", feed);
  assert.deepEqual(
    refusals.unknownEdges().map(({ agoMs }) => agoMs),
    [0, 3000],
    "the last request of each counts",
  );
  for (let host = 0; host < 200; host += 1) note(host, "unknown", feed);
  const kept = refusals.unknownEdges();
  assert.deepEqual([kept.length, kept[0]?.address, kept.at(-1)?.address], [64, "198.51.100.199", "198.51.100.136"]);
  clock.advance(60_001);
  assert.deepEqual(refusals.unknownEdges(), []);
});

test("a refused attempt leaves an entry, a request without a token none", async (t) => {
  const started = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  await started.json(401, "GET", "/images", { token: "x".repeat(43) });
  await started.json(401, "GET", "/images", { token: null });
  await started.json(403, "POST", "/purges", { token: started.tokens.edge, body: "{}" });
  await started.close();
  const file = new DatabaseSync(join(started.dataDir, "catalogue.sqlite"));
  const rows = file.prepare("SELECT token_kind, address, facts FROM audit WHERE kind = 'refused' ORDER BY id").all();
  file.close();
  assert.deepEqual(
    rows.map((row) => [row["token_kind"], row["address"], JSON.parse(String(row["facts"])) as unknown]),
    [
      [null, "127.0.0.1", { count: 1, status: 401, route: "GET /api/v1/images" }],
      ["edge", "127.0.0.1", { count: 1, status: 403, route: "POST /api/v1/purges" }],
    ],
  );
});

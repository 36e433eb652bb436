/** Publishing over the API: a document that would take down what is served is refused, unless the request insists. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type Clock, systemClock } from "#base/clock.ts";
import { fleetExample, startTestOrigin, type TestOrigin } from "./running-origin.ts";

interface Refused {
  code: string;
  detail: string;
  dangers: { kind: string; name: string; message: string }[];
  dangerCount: number;
}

interface Reviewed extends Pick<Refused, "dangers" | "dangerCount"> {
  dryRun: boolean;
  version?: number;
  unchanged: boolean;
  additive: boolean;
  changes: { kind: string; what: string; name: string; detail: string }[];
  changeCount: number;
}

const json = { "content-type": "application/json" };
const one = fleetExample(["fra"]);
const two = fleetExample(["fra", "nyc"]);

/** An origin that has just started can't know yet which nodes are there: it takes all of them for live. */
const justStarted: Clock = { ...systemClock, monotonicMs: () => 0 };

async function startWith(t: TestContext, ...texts: string[]): Promise<TestOrigin> {
  return await startAt(t, justStarted, texts);
}

async function startAt(t: TestContext, clock: Clock, texts: readonly string[]): Promise<TestOrigin> {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { clock });
  for (const body of texts) await origin.json(201, "PUT", "/fleet", { body });
  return origin;
}

const newest = async (origin: TestOrigin): Promise<unknown> => (await origin.json(200, "GET", "/fleet"))["version"];
const latestEvent = async (origin: TestOrigin): Promise<unknown> =>
  (await origin.json<{ versions: unknown[] }>(200, "GET", "/fleet/versions")).versions.length;

test("a document that empties a site is refused with the list of dangers, and nothing is published", async (t) => {
  const origin = await startWith(t, two);
  const refused = await origin.json<Refused>(409, "PUT", "/fleet", { body: one });
  assert.equal(refused.code, "DANGEROUS_FLEET");
  assert.deepEqual(refused.dangers, [
    { kind: "site", name: "nyc", message: "site nyc would be removed: nyc1 serves there now" },
  ]);
  assert.equal(refused.dangerCount, 1);
  assert.match(refused.detail, /nothing was published.*force=true/);
  assert.equal(await newest(origin), 1);
  assert.equal((await origin.json(201, "PUT", "/fleet?force=true", { body: one }))["version"], 2);
});

test("a node that is not connected carries nobody: its site may go", async (t) => {
  let nowMs = 0;
  const origin = await startAt(t, { ...systemClock, monotonicMs: () => nowMs }, [two]);
  await origin.json(409, "PUT", "/fleet", { body: one });
  nowMs = 60_000;
  const dry = await origin.json<Reviewed>(200, "PUT", "/fleet?dryRun=true", { body: one });
  assert.deepEqual([dry.dangers, dry.additive], [[], false]);
  assert.equal((await origin.json(201, "PUT", "/fleet", { body: one }))["version"], 2);
});

test("a rollback is held to the same rule", async (t) => {
  const origin = await startWith(t, one, two);
  const call = { body: "{}", headers: json };
  assert.equal((await origin.json<Refused>(409, "POST", "/fleet/rollbacks", call)).code, "DANGEROUS_FLEET");
  const dry = await origin.json<Reviewed>(200, "POST", "/fleet/rollbacks?dryRun=true", call);
  assert.deepEqual([dry.version, dry.dangerCount, dry.additive], [2, 1, false]);
  assert.equal(await newest(origin), 2);
  assert.equal((await origin.json(201, "POST", "/fleet/rollbacks?force=true", call))["version"], 3);
});

test("nodes that joined count: a document without their site is refused", async (t) => {
  const empty = two.replace(/nodes: \[\{ name: nyc1.*\}\]/, "nodes: []");
  const origin = await startWith(t, empty);
  assert.equal((await origin.json(201, "PUT", "/fleet", { body: one }))["version"], 2, "nobody is there yet");
  await origin.json(201, "PUT", "/fleet", { body: empty });
  const node = { site: "nyc", http: "http://127.0.2.7:8080", addresses: ["127.0.2.7"] };
  const body = JSON.stringify(node);
  await origin.json(201, "POST", "/nodes", { token: origin.tokens.edge, body, headers: json });
  const refused = await origin.json<Refused>(409, "PUT", "/fleet", { body: one });
  assert.deepEqual(
    refused.dangers.map(({ kind, name }) => `${kind} ${name}`),
    ["site nyc"],
  );
});

test("a dry run says what changes and publishes nothing", async (t) => {
  const origin = await startWith(t);
  const first = await origin.json<Reviewed>(200, "PUT", "/fleet?dryRun=true", { body: one });
  assert.deepEqual([first.dryRun, first.version, first.additive, first.dangers], [true, undefined, true, []]);
  await origin.json(404, "GET", "/fleet");
  await origin.json(201, "PUT", "/fleet", { body: one });
  const more = await origin.json<Reviewed>(200, "PUT", "/fleet?dryRun=true", { body: two });
  assert.deepEqual(more.changes.slice(0, 2), [
    { kind: "added", what: "site", name: "nyc", detail: "127.0.2.1" },
    { kind: "added", what: "node", name: "nyc1", detail: "site nyc" },
  ]);
  assert.deepEqual([more.version, more.unchanged, more.additive, more.changeCount], [1, false, true, 2]);
  const same = await origin.json<Reviewed>(200, "PUT", "/fleet?dryRun=true", { body: one });
  assert.deepEqual([same.unchanged, same.changes], [true, []]);
  assert.equal((await origin.json(422, "PUT", "/fleet?dryRun=true", { body: "a: [" }))["code"], "BAD_FLEET");
  const stale = { body: two, headers: { "if-match": `"7"` } };
  assert.equal((await origin.json(412, "PUT", "/fleet?dryRun=true", stale))["code"], "PRECONDITION_FAILED");
  assert.equal((await origin.json(400, "PUT", "/fleet?dryrun=true", { body: two }))["code"], "BAD_PARAMETER");
  assert.equal(await latestEvent(origin), 1);
});

test("a long list of dangers is cut, and its length is reported", async (t) => {
  const many = Array.from({ length: 300 }, (_, index) => `      - { name: h${index}, type: A, address: 203.0.113.1 }`);
  const full = one.replace("sites:", `    records:\n${many.join("\n")}\nsites:`);
  const origin = await startWith(t, full);
  const refused = await origin.json<Refused>(409, "PUT", "/fleet", { body: one });
  assert.deepEqual([refused.dangers.length, refused.dangerCount], [200, 300]);
});

/** Publishing, reading and bringing back fleet versions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { defaultLimits } from "../../origin/fleet/upload-limits.ts";
import { summarizeFleet } from "../../origin/fleet/summary.ts";
import { fleetExample, startTestOrigin, type Scope } from "./running-origin.ts";

const json = { "content-type": "application/json" };

interface FleetAnswer {
  version: number;
  author: string;
  createdAt: string;
  summary: string;
  text?: string;
  fromVersion?: number;
  unchanged?: boolean;
}

function fleetOf(text: string): Fleet {
  const parsed = parseFleet(text);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

test("a published document becomes the next version, with author and summary, for edges to read", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  assert.equal((await origin.json(404, "GET", "/fleet"))["code"], "NOT_FOUND");
  const [one, two] = [fleetExample(["fra"]), fleetExample(["fra", "nyc"])];
  const headers = { "nearcast-author": "ada" };
  const first = await origin.json<FleetAnswer>(201, "PUT", "/fleet", { body: one, headers });
  assert.deepEqual([first.version, first.author, first.unchanged], [1, "ada", false]);
  assert.equal(first.summary, "first version: 1 zone, 1 site, 1 host");
  const second = await origin.json<FleetAnswer>(201, "PUT", "/fleet", { body: two });
  assert.deepEqual([second.version, second.author, second.summary], [2, "writer", "site nyc added"]);
  const same = await origin.json<FleetAnswer>(200, "PUT", "/fleet", { body: two });
  assert.deepEqual([same.version, same.unchanged], [2, true]);

  const answer = await origin.call("GET", "/fleet", { token: origin.tokens.edge });
  assert.equal(answer.headers.get("etag"), `"2"`);
  const newest = (await answer.json()) as FleetAnswer;
  assert.deepEqual([newest.version, newest.text, newest.summary], [2, two, "site nyc added"]);
  const known = await origin.call("GET", "/fleet", { headers: { "if-none-match": `"2"` } });
  assert.equal(known.status, 304);
  assert.equal((await origin.json<FleetAnswer>(200, "GET", "/fleet?version=1")).text, one);
  assert.equal((await origin.json(404, "GET", "/fleet?version=3"))["code"], "NOT_FOUND");
  assert.equal((await origin.json(400, "GET", "/fleet?version=0"))["code"], "BAD_PARAMETER");
});

test("a rollback is a new version with an old text", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  assert.equal(
    (await origin.json(404, "POST", "/fleet/rollbacks", { body: "{}", headers: json }))["code"],
    "NOT_FOUND",
  );
  const texts = [["fra"], ["fra", "nyc"], ["fra", "nyc", "tyo"]].map((sites) => fleetExample(sites));
  await origin.json(201, "PUT", "/fleet", { body: texts[0] ?? "" });
  assert.equal(
    (await origin.json(404, "POST", "/fleet/rollbacks", { body: "{}", headers: json }))["code"],
    "NOT_FOUND",
  );
  for (const body of texts.slice(1)) await origin.json(201, "PUT", "/fleet", { body });

  const back = await origin.json<FleetAnswer>(201, "POST", "/fleet/rollbacks?force=true", {
    body: "{}",
    headers: json,
  });
  assert.deepEqual([back.version, back.fromVersion, back.summary], [4, 2, "site tyo removed"]);
  const further = await origin.json<FleetAnswer>(201, "POST", "/fleet/rollbacks?force=true", {
    body: `{"version":1}`,
    headers: json,
  });
  assert.deepEqual([further.version, further.fromVersion], [5, 1]);
  assert.equal((await origin.json<FleetAnswer>(200, "GET", "/fleet")).text, texts[0]);
  const same = await origin.json<FleetAnswer>(200, "POST", "/fleet/rollbacks", {
    body: `{"version":1}`,
    headers: json,
  });
  assert.deepEqual([same.version, same.unchanged], [5, true]);

  const { versions } = await origin.json<{ versions: FleetAnswer[] }>(200, "GET", "/fleet/versions");
  assert.deepEqual(
    versions.map((each) => [each.version, each.fromVersion, each.summary]),
    [
      [5, 1, "site nyc removed"],
      [4, 2, "site tyo removed"],
      [3, undefined, "site tyo added"],
      [2, undefined, "site nyc added"],
      [1, undefined, "first version: 1 zone, 1 site, 1 host"],
    ],
  );
  const page = await origin.json<{ versions: FleetAnswer[] }>(200, "GET", "/fleet/versions?before=4&limit=2");
  assert.deepEqual(
    page.versions.map((each) => each.version),
    [3, 2],
  );
});

test("a document with problems is refused with all of them, and nothing is published", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const body = fleetExample(["fra"])
    .replace("latitude: 50.1", "latitude: 95")
    .replace("kind: images", "kind: images\n    colour: red");
  const problem = await origin.json<{ code: string; problems: { path: string; message: string }[] }>(
    422,
    "PUT",
    "/fleet",
    {
      body,
    },
  );
  assert.equal(problem.code, "BAD_FLEET");
  assert.deepEqual(problem.problems.map((each) => each.path).toSorted(), [
    "hosts[0].colour",
    "sites[0].place.latitude",
  ]);
  const table: [string, string | Buffer, number, string][] = [
    ["not YAML", "a: [", 422, "BAD_FLEET"],
    ["nothing", "", 422, "BAD_FLEET"],
    ["not UTF-8", Buffer.from([0xff, 0xfe, 0x00]), 422, "BAD_FLEET"],
    ["too large", `#${" ".repeat(4 * 1024 * 1024)}`, 413, "BODY_TOO_LARGE"],
  ];
  for (const [row, text, status, code] of table) {
    assert.equal((await origin.json(status, "PUT", "/fleet", { body: text }))["code"], code, row);
  }
  await origin.json(404, "GET", "/fleet");
});

test("preconditions keep two writers from overwriting each other", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const attempt = async (site: string, headers: Record<string, string>): Promise<number> => {
    const answer = await origin.call("PUT", "/fleet?force=true", { body: fleetExample([site]), headers });
    await answer.arrayBuffer();
    return answer.status;
  };
  assert.equal(await attempt("aaa", { "if-match": `"1"` }), 412);
  assert.equal(await attempt("aaa", { "if-none-match": "*" }), 201);
  assert.equal(await attempt("bbb", { "if-none-match": "*" }), 412);
  const race = await Promise.all(["ccc", "ddd", "eee"].map(async (site) => await attempt(site, { "if-match": `"1"` })));
  assert.deepEqual(
    race.toSorted((one, other) => one - other),
    [201, 412, 412],
  );
});

test("only so many fleet versions are kept", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { keep: { fleetVersions: 2 } } });
  for (const site of ["aaa", "bbb", "ccc"]) {
    await origin.json(201, "PUT", "/fleet?force=true", { body: fleetExample([site]) });
  }
  await origin.json(404, "GET", "/fleet?version=1");
  await origin.json(200, "GET", "/fleet?version=2");
});

test("a summary names what is new, gone and changed, and stays one line", () => {
  const base = fleetOf(fleetExample(["fra", "nyc"]));
  const table: [string, string][] = [
    [fleetExample(["fra", "nyc"]), "only the text"],
    [`# a comment\n${fleetExample(["fra", "nyc"])}`, "only the text"],
    [fleetExample(["fra"]), "site nyc removed"],
    [fleetExample(["fra", "nyc"]).replace("50.1", "50.2"), "site fra changed"],
    [fleetExample(["fra", "tyo"]), "site tyo added; site nyc removed"],
    [
      fleetExample(["fra", "nyc"]).replace("kind: images", "kind: images\n    freshSeconds: 9"),
      "host img.cdn.test changed",
    ],
    [
      fleetExample(["fra", "nyc"], "presets: { thumb: { w: 100 } }\nlimits: { renderQueueMax: 5 }"),
      "preset thumb added; limits changed",
    ],
    [fleetExample(["a", "b", "c", "d", "e", "f"]), "sites a, b, c, d and 2 more added; sites fra, nyc removed"],
  ];
  for (const [text, summary] of table) assert.equal(summarizeFleet(base, fleetOf(text)), summary);
});

test("uploads without a fleet document have the limits that a document without limits has", () => {
  const { sourceBytesMax, sourcePixelsMax } = fleetOf(fleetExample()).limits;
  assert.deepEqual(defaultLimits, { sourceBytesMax, sourcePixelsMax });
});

function scopeOf(t: { after: (work: () => Promise<void>) => void }): Scope {
  return { after: (cleanUp) => t.after(cleanUp) };
}

/** Which live nodes would not understand a document. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";
import type { Fleet } from "#document/document.ts";
import { fleetSchema } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import { type Vocabulary, vocabularyOf } from "#document/vocabulary.ts";
import type { Connection } from "../../origin/channel/connections.ts";
import { firstRelease, notUnderstood } from "../../origin/channel/understanding.ts";
import { fleetExample } from "./running-origin.ts";

const today = vocabularyOf(fleetSchema);

function connection(node: string | undefined, understands: Vocabulary = today): Connection {
  const introduction = { site: "fra", process: 0, processes: 1, release: "0.2.0", understands };
  return {
    channel: "",
    address: "192.0.2.7",
    sinceMs: 0,
    heardAtMs: 0,
    introduction: node === undefined ? undefined : { node, ...introduction },
    presence: undefined,
    unprovenName: undefined,
    send: () => undefined,
  };
}

function read(text: string): Fleet {
  const parsed = parseFleet(text);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  return parsed.value;
}

function without(path: string): Vocabulary {
  return Object.fromEntries(Object.entries(today).filter(([term]) => term !== path));
}

const document = fleetExample(["fra"], "presets: { small: { w: 300 } }\n");

test("every key, word, range and form of release 0.1.0 is still understood as it was", () => {
  for (const [path, was] of Object.entries(firstRelease)) {
    const is = today[path];
    assert.ok(is !== undefined, `${path} is gone: an old document can't be brought back`);
    assert.equal(is.pattern, was.pattern, `${path}: a new form needs a new key (architecture.md, "Mixed releases")`);
    for (const value of was.values ?? [])
      assert.ok(is.values === undefined || is.values.includes(value), `${path}=${value}`);
    for (const type of was.types ?? []) assert.ok(is.types?.includes(type), `${path} is no ${type} any more`);
    const [least, most] = [is.range?.[0] ?? -Infinity, is.range?.[1] ?? Infinity];
    assert.ok(
      least <= (was.range?.[0] ?? -Infinity) && most >= (was.range?.[1] ?? Infinity),
      `${path}: a narrower range`,
    );
  }
});

test("where all nodes run this release nothing is looked at; an empty fleet understands everything", () => {
  assert.deepEqual(notUnderstood(document, read(document), [connection("fra1")]), []);
  assert.deepEqual(notUnderstood(document, read(document), []), []);
});

test("the nodes are named that do not know a key, with the key", () => {
  const all = () => [
    connection("fra1"),
    connection("nyc1", without("presets.*.w")),
    connection("nyc2", without("presets.*.w")),
  ];
  assert.deepEqual(notUnderstood(document, read(document), all()), [
    { node: "nyc1", path: "presets.small.w", message: "is not a known key" },
    { node: "nyc2", path: "presets.small.w", message: "is not a known key" },
  ]);
});

test("a subscriber that did not introduce itself understands what release 0.1.0 does, and no more", () => {
  const all = () => [connection(undefined)];
  assert.deepEqual(notUnderstood(document, read(document), all()), []);
});

test("record types that a zone file brings are looked at as those of the document are", () => {
  const zone = '$TTL 60\n@ SOA ns1 hostmaster 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.1\n@ CAA 0 issue "ca.test"\n';
  const parts = { sites: [], hosts: [] };
  const base = read(document);
  const text = stringify({
    ...parts,
    zones: [{ name: "cdn.test", text: zone }],
    sites: [
      { name: "fra", place: { latitude: 50, longitude: 8 }, addresses: ["127.0.1.1"], nodes: base.sites[0]?.nodes },
    ],
    hosts: [{ name: "img.cdn.test", kind: "images" }],
  });
  const types = today["zones[].records[].type"];
  const vocabulary = {
    ...today,
    "zones[].records[].type": { ...types, values: (types?.values ?? []).filter((type) => type !== "CAA") },
  };
  const [word, ...others] = notUnderstood(text, read(text), [connection("nyc1", vocabulary)]);
  assert.deepEqual([word, others.length], [{ node: "nyc1", path: "zones[0]", message: "has records of type CAA" }, 0]);
});

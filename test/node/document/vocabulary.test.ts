/** What a release understands of a fleet document, compared with what another one says in it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Type } from "typebox";
import { fleetSchema } from "#document/document.ts";
import { unknownTo, type Vocabulary, vocabularyOf } from "#document/vocabulary.ts";
import { check } from "#base/schema.ts";
import { vocabularySchema } from "#document/vocabulary.ts";
import { fleetValue } from "../../support/fleet.ts";

const strict = { additionalProperties: false } as const;
const kinds = Type.Unsafe<unknown>({
  type: "object",
  discriminator: { propertyName: "kind" },
  required: ["kind"],
  oneOf: [
    Type.Object(
      { kind: Type.Literal("images"), ttl: Type.Optional(Type.Integer({ minimum: 0, maximum: 60 })) },
      strict,
    ),
    Type.Object({ kind: Type.Literal("assets"), origin: Type.String() }, strict),
    Type.Object({ kind: Type.Literal("videos") }, strict),
  ],
});
const schema = Type.Object(
  {
    name: Type.String({ pattern: "^[a-z]+$", maxLength: 8 }),
    mode: Type.Unsafe<string>({ type: "string", enum: ["on", "off", "auto"] }),
    size: Type.Integer({ minimum: 1, maximum: 100 }),
    list: Type.Array(Type.String(), { maxItems: 3 }),
    presets: Type.Record(Type.String({ pattern: "^[a-z]+$" }), Type.Object({ w: Type.Integer() }, strict)),
    hosts: Type.Array(kinds),
  },
  strict,
);
const today = vocabularyOf(schema);
const document = {
  name: "abc",
  mode: "auto",
  size: 70,
  list: ["a", "b"],
  presets: { small: { w: 3 } },
  hosts: [{ kind: "images", ttl: 50 }, { kind: "videos" }],
};

/** The vocabulary of a release that knew less. */
function older(changes: Readonly<Record<string, Vocabulary[string] | null>>): Vocabulary {
  const terms = { ...today, ...changes };
  return Object.fromEntries(
    Object.entries(terms).filter((entry): entry is [string, Vocabulary[string]] => entry[1] !== null),
  );
}

const rows: [what: string, vocabulary: Vocabulary, unknown: string[]][] = [
  ["the same release", today, []],
  ["a key", older({ size: null }), ["size: is not a known key"]],
  ["a word", older({ mode: { types: ["string"], values: ["on", "off"] } }), ['mode: "auto" is not one of on, off']],
  ["a range", older({ size: { types: ["integer"], range: [1, 50] } }), ["size: 70 is above 50"]],
  ["a type", older({ size: { types: ["string"] } }), ["size: must be string"]],
  ["a length", older({ name: { range: [null, 2], pattern: "^[a-z]+$" } }), ["name: 3 is above 2"]],
  ["a number of entries", older({ list: { types: ["array"], range: [null, 1] } }), ["list: 2 is above 1"]],
  [
    "a form",
    older({ name: { types: ["string"], pattern: "^[a-c]$" } }),
    ["name: has a form that the release may not accept"],
  ],
  [
    "a kind",
    older({ "hosts[].kind": { values: ["images", "assets"] } }),
    ['hosts[1].kind: "videos" is not one of images, assets'],
  ],
  ["a key of one kind", older({ "hosts[](images).ttl": null }), ["hosts[0].ttl: is not a known key"]],
  ["a key below a name", older({ "presets.*.w": null }), ["presets.small.w: is not a known key"]],
];

for (const [what, vocabulary, unknown] of rows) {
  test(`${what}: ${unknown.join() || "all is understood"}`, () => {
    const found = [...unknownTo(vocabulary, document, schema)].map(({ path, message }) => `${path}: ${message}`);
    assert.deepEqual(found, unknown);
  });
}

test("what a document does not say is nobody's to understand", () => {
  const vocabulary = older({ size: null, "hosts[](assets).origin": null });
  assert.deepEqual(
    [...unknownTo(vocabulary, { ...document, size: undefined, hosts: [] }, schema)].map(({ path }) => path),
    ["size"],
  );
  const { size: _size, ...without } = document;
  assert.deepEqual([...unknownTo(vocabulary, without, schema)], []);
});

test("the vocabulary of the whole schema fits into an introduction, and covers a whole document", () => {
  const vocabulary = vocabularyOf(fleetSchema);
  assert.equal(check(vocabularySchema, vocabulary).ok, true);
  assert.ok(JSON.stringify(vocabulary).length < 64 * 1024, "half of what an introduction may have");
  assert.deepEqual([...unknownTo(vocabulary, fleetValue(), fleetSchema)], []);
  for (const path of [
    "presets.*.w",
    "zones[].records[](SRV).port",
    "hosts[](assets).timeoutMs",
    "limits.renderQueueMax",
  ]) {
    assert.ok(Object.hasOwn(vocabulary, path), path);
  }
});

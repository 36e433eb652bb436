import assert from "node:assert/strict";
import { test } from "node:test";
import { type TSchema, Type } from "typebox";
import { check, problemLines } from "#base/schema.ts";

const strict = { additionalProperties: false } as const;
const schema = Type.Object(
  {
    name: Type.String({ minLength: 2, maxLength: 8 }),
    size: Type.Integer({ minimum: 1, maximum: 10, default: 4 }),
    kind: Type.Unsafe<string>({ type: "string", enum: ["near", "far"], default: "near" }),
    inside: Type.Object({ list: Type.Array(Type.Integer(), { maxItems: 2, default: [] }) }, { ...strict, default: {} }),
    url: Type.Optional(Type.String({ format: "http-url", description: "where it is" })),
    address: Type.Optional(Type.String({ format: "ip" })),
  },
  strict,
);

function problemsOf(value: unknown, of: TSchema = schema): string[] {
  const checked = check(of, value);
  return checked.ok ? [] : problemLines(checked.problems);
}

test("defaults are filled in at every depth, and the result is frozen all the way down", () => {
  const given = { name: "abc" };
  const checked = check(schema, given);
  assert(checked.ok);
  assert.deepEqual(checked.value, { name: "abc", size: 4, kind: "near", inside: { list: [] } });
  assert(Object.isFrozen(checked.value) && Object.isFrozen(checked.value.inside.list));
  assert.deepEqual(given, { name: "abc" }, "the caller's own value is left alone");
});

test("all problems are reported at once, each with its path", () => {
  assert.deepEqual(problemsOf({ size: 11, colour: 1, inside: { list: [1, 2, 3], x: 1 } }).toSorted(), [
    "colour: is not a known key",
    "inside.list: must have at most 2 entries (got 3)",
    "inside.x: is not a known key",
    "name: is missing",
    "size: 11 is above the maximum of 10",
  ]);
});

test("an unknown key that is near a known one names that", () => {
  assert.deepEqual(problemsOf({ nmae: "abc", inside: { lists: [] } }).toSorted(), [
    "inside.lists: is not a known key; did you mean list?",
    "name: is missing",
    "nmae: is not a known key; did you mean name?",
  ]);
});

test("a message names the value and the allowed range", () => {
  const rows: [value: object, line: string][] = [
    [{ name: "a" }, 'name: "a" must have at least 2 characters'],
    [{ name: "abcdefghi" }, 'name: "abcdefghi" must have at most 8 characters'],
    [{ name: "abc", size: 0 }, "size: 0 is below the minimum of 1"],
    [{ name: "abc", size: "4" }, 'size: "4" must be an integer from 1 to 10'],
    [{ name: "abc", size: 1.5 }, "size: 1.5 must be an integer from 1 to 10"],
    [{ name: "abc", kind: "middle" }, 'kind: "middle" is not one of near, far'],
    [{ name: "abc", inside: { list: ["x"] } }, 'inside.list[0]: "x" must be an integer'],
    [
      { name: "abc", url: "ftp://x" },
      'url: "ftp://x" is not an http:// or https:// URL without user, query and fragment (expected: where it is)',
    ],
    [{ name: null }, "name: null must be a string"],
  ];
  for (const [value, line] of rows) assert.deepEqual(problemsOf(value), [line], JSON.stringify(value));
});

test("a base URL has no password, query or fragment, which would be dropped or leak", () => {
  for (const url of ["http://a", "https://a:8443/x/", "http://[::1]:80"]) {
    assert.deepEqual(problemsOf({ name: "abc", url }), [], url);
  }
  for (const url of ["http://u@a", "http://u:p@a", "http://:p@a", "http://a/?x", "http://a/#x", "//a", "a", ""]) {
    assert.equal(problemsOf({ name: "abc", url }).length, 1, url);
  }
});

test("an address is IPv4 or IPv6 and nothing else", () => {
  for (const address of ["192.0.2.1", "2001:db8::1"]) assert.deepEqual(problemsOf({ name: "abc", address }), []);
  for (const address of ["192.0.2", "192.0.2.1/24", "[::1]", "localhost"]) {
    assert.equal(problemsOf({ name: "abc", address }).length, 1, address);
  }
});

test("a kind that is not known is reported as such", () => {
  const kinds = Type.Unsafe({
    type: "object",
    discriminator: { propertyName: "kind" },
    required: ["kind"],
    oneOf: [
      Type.Object({ kind: Type.Literal("a"), x: Type.Integer({ default: 3 }) }, strict),
      Type.Object({ kind: Type.Literal("b") }, strict),
    ],
  });
  assert.deepEqual(problemsOf({ kind: "c" }, kinds), ['kind: "c" is not a known kind (allowed: a, b)']);
  assert.ok(problemsOf({}, kinds).includes("kind: is missing (allowed: a, b)"));
  assert.deepEqual(problemsOf({ kind: "b", x: 1 }, kinds), ["x: is not a known key"], "of the kind that was meant");
  const checked = check(kinds, { kind: "a" });
  assert(checked.ok);
  assert.deepEqual(checked.value, { kind: "a", x: 3 }, "defaults work inside of a kind");
});

test("a value that shows as a long text is cut short in the message", () => {
  const [line = ""] = problemsOf({ name: "x".repeat(10_000) });
  assert(line.length < 150, line);
});

test("a hundred thousand problems are not all told", () => {
  const value: Record<string, unknown> = { name: "abc" };
  for (let index = 0; index < 100_000; index += 1) value[`k${index}`] = "x".repeat(20);
  assert.equal(problemsOf(value).length, 1000);
});

test("a key that is a name of Object.prototype is an unknown key like any other", () => {
  assert.deepEqual(problemsOf(JSON.parse('{"name":"abc","__proto__":{},"constructor":1}')).toSorted(), [
    "__proto__: is not a known key",
    "constructor: is not a known key",
  ]);
});

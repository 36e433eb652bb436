import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Type } from "typebox";
import { checkConfig, ConfigError, loadConfig } from "#base/read-config.ts";
import { problemLines } from "#base/schema.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

const strict = { additionalProperties: false } as const;
const schema = Type.Object(
  {
    node: Type.String({ default: "n" }),
    isQuick: Type.Boolean({ default: false }),
    cache: Type.Object({ diskBytes: Type.Integer({ minimum: 0, default: 7 }) }, { ...strict, default: {} }),
    http: Type.Array(Type.Object({ port: Type.Integer() }, strict), { default: [{ port: 80 }] }),
  },
  strict,
);

function checkWith(environment: Record<string, string>, value: unknown = {}) {
  return checkConfig(schema, value, "PRE", environment);
}

function linesOf(environment: Record<string, string>, value: unknown = {}): string[] {
  const checked = checkWith(environment, value);
  return checked.ok ? [] : problemLines(checked.problems);
}

test("a variable overrides one key: two underscores go a level down, one joins words", () => {
  const checked = checkWith({ PRE_CACHE__DISK_BYTES: "5", PRE_IS_QUICK: "true", PRE_NODE: "x", OTHER_NODE: "y" });
  assert(checked.ok);
  assert.deepEqual(checked.value, { node: "x", isQuick: true, cache: { diskBytes: 5 }, http: [{ port: 80 }] });
});

test("a variable overrides a part of what the file says and leaves the rest", () => {
  const checked = checkWith({ PRE_HTTP__0__PORT: "81" }, { http: [{ port: 1 }, { port: 2 }] });
  assert(checked.ok);
  assert.deepEqual(checked.value.http, [{ port: 81 }, { port: 2 }]);
});

test("a variable with the prefix that names no key is fatal, and all such problems are reported at once", () => {
  const lines = linesOf({ PRE_CACHE__DISC_BYTES: "5", PRE_NODE__NAME: "x", PRE_IS_QUICK: "maybe", PRE_HTTP: "[" });
  assert.equal(lines.length, 4, lines.join("\n"));
  assert(lines.includes("cache.discBytes: is not a known key; did you mean diskBytes?"));
  assert(lines.includes("PRE_HTTP: is not a valid YAML value; put it in quotes"));
});

test("no variable reaches a prototype", () => {
  for (const name of ["PRE___PROTO____X", "PRE_CONSTRUCTOR__PROTOTYPE__X", "PRE_TO_STRING__X"]) {
    assert(linesOf({ [name]: "1" }).length > 0, name);
    assert.equal(({} as { x?: unknown }).x, undefined);
  }
});

test("a file that is missing, is no YAML or has problems is a ConfigError that names it", async (t) => {
  const directory = await temporaryDirectory(t);
  const rows: [text: string | null, wanted: RegExp][] = [
    [null, /can't be read/],
    ["node: [", /a bracket is not closed at line 1/],
    ["nodes: 3", /nodes \(line 1\): is not a known key; did you mean node\?/],
    ["- 1", /must be an object/],
    ["node: *a", /alias/i],
  ];
  for (const [index, [text, wanted]] of rows.entries()) {
    const path = join(directory, `${index}.yaml`);
    if (text !== null) await writeFile(path, text);
    await assert.rejects(loadConfig(schema, path, "PRE", {}), (error: Error) => {
      assert(error instanceof ConfigError);
      assert(error.message.startsWith(path));
      assert.match(error.message, wanted);
      return true;
    });
  }
});

test("a problem has the line of the file, but not where a variable set the value", async (t) => {
  const path = join(await temporaryDirectory(t), "lines.yaml");
  await writeFile(path, "# a comment\nnode: n\ncache:\n  diskBytes: -1\nhttp:\n  - { port: x }\n  - {}\n");
  const linesWith = async (environment: Record<string, string>): Promise<string[]> => {
    const failed: unknown = await loadConfig(schema, path, "PRE", environment).catch((error: unknown) => error);
    assert(failed instanceof ConfigError);
    return problemLines(failed.problems).toSorted();
  };
  const rest = ['http[0].port (line 6): "x" must be an integer', "http[1].port (line 7): is missing"];
  assert.deepEqual(await linesWith({}), ["cache.diskBytes (line 4): -1 is below the minimum of 0", ...rest]);
  assert.deepEqual(await linesWith({ PRE_CACHE__DISK_BYTES: "-2" }), [
    "cache.diskBytes: -2 is below the minimum of 0",
    ...rest,
  ]);
});

test("an empty file and no file at all mean the defaults, frozen", async (t) => {
  const path = join(await temporaryDirectory(t), "empty.yaml");
  await writeFile(path, "# nothing\n");
  const fromFile = await loadConfig(schema, path, "PRE", {});
  assert.deepEqual(fromFile, await loadConfig(schema, undefined, "PRE", {}));
  assert(Object.isFrozen(fromFile.cache));
});

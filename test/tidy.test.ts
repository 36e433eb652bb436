/** House rules that no linter knows: each failure says what to do. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const rooms = ["node", "dns", "origin", "test", "bench", "deploy"];
const columnsMax = 120;

test("the top level holds the rooms and nothing else", async () => {
  const files = ["package.json", "package-lock.json", "tsconfig.json", "README.md", "LICENSE"];
  const allowed = new Set([...rooms, ...files, "node_modules", ...(await ignored())]);
  const names = (await readdir(root)).filter((name) => !name.startsWith(".") && !allowed.has(name));
  const strangers = names.filter((name) => !name.endsWith(".tgz"));
  assert.deepEqual(strangers, [], "move them into a room, or write them into .gitignore when they are made by running");
});

/** Folders that git leaves out: what builds, runs and packing leave behind. */
async function ignored(): Promise<string[]> {
  const lines = (await readFile(join(root, ".gitignore"), "utf8")).split("\n");
  return lines.flatMap((line) => /^\/?([\w.-]+)\/$/.exec(line)?.[1] ?? []);
}

test("nothing is left for later, and no line is wider than a screen", async () => {
  const marks = new RegExp(`\\b(?:${["TO", "FIX"].map((start, index) => start + ["DO", "ME"][index]).join("|")})\\b`);
  const problems: string[] = [];
  for await (const { path, text } of sources()) {
    for (const [index, line] of text.split("\n").entries()) {
      const at = `${path}:${index + 1}`;
      if (marks.test(line)) problems.push(`${at}: do it now, or write an issue`);
      if (line.length > columnsMax) problems.push(`${at}: ${line.length} columns, at most ${columnsMax}`);
    }
  }
  assert.deepEqual(problems, []);
});

async function* sources(): AsyncGenerator<{ path: string; text: string }> {
  for (const room of rooms) {
    const entries = await readdir(join(root, room), { recursive: true, withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isFile() || !/\.(?:ts|mjs)$/.test(entry.name)) continue;
      const file = join(entry.parentPath, entry.name);
      yield { path: relative(root, file), text: await readFile(file, "utf8") };
    }
  }
}

/** House rules that no linter knows: each failure says what to do. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { errorCatalogue } from "#base/errors.ts";
import { withTables } from "../deploy/readme-tables.ts";

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

test("the README lists every error code, with its status, and no other", async () => {
  const rows = [...(await readme()).matchAll(/^\|\s*`([A-Z][A-Z0-9_]+)`\s*\|\s*(\d{3})\s*\|/gm)];
  const listed = Object.fromEntries(rows.map(([, code = "", status = ""]) => [code, Number(status)]));
  const wanted = Object.fromEntries(Object.entries(errorCatalogue).map(([code, { status }]) => [code, status]));
  assert.deepEqual(listed, wanted, "README.md: rows of the form | `CODE` | status | … |");
});

test("the README's configuration tables are what the schemas say", async () => {
  const text = await readme();
  for (const table of ["edge", "origin", "fleet"]) {
    assert.ok(text.includes(`<!-- table: ${table} -->`), `README.md has no mark <!-- table: ${table} -->`);
  }
  assert.equal(text, await withTables(text), "run: npm run tables");
});

test("every metric that the README names is one of an edge or of the origin", async () => {
  const files = (await Array.fromAsync(sources())).filter(({ path }) => /^(?:node|origin)\//.test(path));
  const code = files.map(({ text }) => text).join("\n");
  const named = new Set((await readme()).match(/\bnearcast_[a-z_]+\b/g));
  assert.ok(named.size > 10);
  const unknown = [...named].filter((name) => !code.includes(`"${name}"`));
  assert.deepEqual(unknown, []);
});

test("the README's map of folders names the folders that there are", async () => {
  const text = await readme();
  for (const room of rooms) assert.ok(text.includes(`${room}/`), `README.md does not mention ${room}/`);
});

async function readme(): Promise<string> {
  return await readFile(join(root, "README.md"), "utf8");
}

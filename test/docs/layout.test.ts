/** Pages fit a screen, link to what exists, and can be found from the README. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { anchorsOf, documentationPages, type Page, proseOf, root } from "./pages.ts";

const columnsMax = 120;
const readmeLinesMax = 250;

test(`no line of a page is wider than ${columnsMax} columns`, async () => {
  const wide: string[] = [];
  for (const { path, lines } of await documentationPages()) {
    for (const [index, line] of lines.entries()) {
      if (line.length > columnsMax) wide.push(`${path}:${index + 1}: ${line.length} columns`);
    }
  }
  assert.deepEqual(wide, []);
});

test(`the README has at most ${readmeLinesMax} lines`, async () => {
  const readme = (await documentationPages()).find(({ path }) => path === "README.md");
  assert.ok(readme !== undefined && readme.lines.length <= readmeLinesMax + 1);
});

test("every relative link and every anchor leads somewhere", async () => {
  const pages = new Map((await documentationPages()).map((page) => [page.path, page]));
  const broken: string[] = [];
  for (const page of pages.values()) {
    for (const target of linksOf(page)) {
      const [file = "", anchor] = target.split("#");
      const path = file === "" ? page.path : normalize(join(dirname(page.path), file));
      const linked = pages.get(path);
      const isThere = existsSync(join(root, path));
      if (!isThere) broken.push(`${page.path}: ${target}: no such file`);
      else if (anchor !== undefined && linked !== undefined && !anchorsOf(linked).has(anchor)) {
        broken.push(`${page.path}: ${target}: no such heading`);
      }
    }
  }
  assert.deepEqual(broken, []);
});

test("a reader who starts at the README reaches every page", async () => {
  const pages = new Map((await documentationPages()).map((page) => [page.path, page]));
  const reached = new Set(["README.md"]);
  for (const path of reached) {
    const page = pages.get(path);
    for (const target of page === undefined ? [] : linksOf(page)) {
      const linked = normalize(join(dirname(path), target.split("#")[0] ?? ""));
      if (pages.has(linked)) reached.add(linked);
    }
  }
  assert.deepEqual(
    [...pages.keys()].filter((path) => !reached.has(path)),
    [],
  );
});

/** Targets of the links within the repository. */
function linksOf(page: Page): string[] {
  return [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));
}

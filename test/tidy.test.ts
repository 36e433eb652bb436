/** House rules that no linter knows: each failure says what to do. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
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

const functionLinesMax = 120;

test("no function is so long that it can't be seen whole", async () => {
  const rule = ["error", { max: functionLinesMax, skipBlankLines: false, skipComments: false, IIFEs: true }];
  const reports = await lintWith({ "max-lines-per-function": rule }, ["node", "dns", "origin", "deploy/cli"]);
  const problems: string[] = [];
  for (const { file, line, message } of reports) {
    if (/\bone function: ./.test(await commentAbove(file, line))) continue;
    problems.push(`${file}:${line}: ${message}`);
  }
  const advice = 'split them; or say why not in the comment directly above: "one function: WHY"';
  assert.deepEqual(problems.toSorted(), [], advice);
});

interface LintReport {
  file: string;
  line: number;
  message: string;
}

/** What oxlint reports with these rules and no others. */
async function lintWith(rules: object, paths: readonly string[]): Promise<LintReport[]> {
  const folder = await mkdtemp(join(tmpdir(), "nearcast-tidy-"));
  try {
    const config = join(folder, "oxlintrc.json");
    await writeFile(config, JSON.stringify({ plugins: ["typescript"], categories: { correctness: "off" }, rules }));
    const output = await new Promise<string>((resolve) => {
      // Its status is 1 when it has something to report.
      const oxlint = join(root, "node_modules/.bin/oxlint");
      const bytesMax = 16 * 1024 * 1024;
      execFile(
        oxlint,
        ["--config", config, "--format", "json", ...paths],
        { cwd: root, maxBuffer: bytesMax },
        (_error, stdout) => {
          resolve(stdout);
        },
      );
    });
    const { diagnostics, number_of_files: files } = JSON.parse(output) as {
      diagnostics: { message: string; filename: string; labels: { span: { line: number } }[] }[];
      number_of_files: number;
    };
    assert.ok(files > 200, `oxlint looked at ${files} files only`);
    return diagnostics.map(({ message, filename, labels }) => {
      return { file: filename.replace(/^\.\//, ""), line: labels[0]?.span.line ?? 0, message };
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The comment that ends on the line before. */
async function commentAbove(file: string, line: number): Promise<string> {
  const lines = (await readFile(join(root, file), "utf8")).split("\n").slice(0, line - 1);
  const first = lines.findLastIndex((text) => !/^\s*(?:\/\*|\*|\/\/)/.test(text));
  return lines.slice(first + 1).join("\n");
}

/** The name of a release: real repositories, made for each test. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { readRelease } from "#base/release.ts";
import { needsProgram } from "../../support/needs.ts";
import { temporaryDirectory } from "../../support/temporary.ts";

async function packageFolder(t: TestContext): Promise<string> {
  const root = await temporaryDirectory(t);
  await mkdir(join(root, "node"));
  await writeFile(join(root, "package.json"), '{ "version": "0.2.0" }');
  await writeFile(join(root, "node/main.ts"), "1;\n");
  await writeFile(join(root, "README.md"), "text\n");
  return root;
}

/** Without the settings of whoever runs the test. */
const env = { PATH: process.env["PATH"], GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_SYSTEM: "/dev/null" };

function git(root: string, ...words: string[]): string {
  const author = ["-c", "user.name=test", "-c", "user.email=test@example.com"];
  return execFileSync("git", [...author, ...words], { cwd: root, env, encoding: "utf8" }).trim();
}

async function checkout(t: TestContext): Promise<{ root: string; commit: () => string }> {
  const root = await packageFolder(t);
  git(root, "init", "--quiet");
  git(root, "add", ".");
  git(root, "commit", "--quiet", "--message", "first");
  return { root, commit: () => git(root, "rev-parse", "--short=7", "HEAD") };
}

test("without git it is the version of package.json, also inside of another repository", async (t) => {
  assert.equal(readRelease(await packageFolder(t)), "0.2.0");
  if (!needsProgram(t, "git")) return;
  const { root } = await checkout(t);
  const inner = join(root, "node_modules/nearcast");
  await mkdir(inner, { recursive: true });
  await writeFile(join(inner, "package.json"), '{ "version": "9.9.9" }');
  assert.equal(readRelease(inner), "9.9.9");
});

test("a checkout is named after its commit; the commit with the version's tag is the version", async (t) => {
  if (!needsProgram(t, "git")) return;
  const { root, commit } = await checkout(t);
  assert.equal(readRelease(root), `0.2.0-g${commit()}`);
  git(root, "tag", "v0.1.0");
  assert.equal(readRelease(root), `0.2.0-g${commit()}`, "the tag of another version");
  git(root, "tag", "v0.2.0");
  assert.equal(readRelease(root), "0.2.0");
  await writeFile(join(root, "node/main.ts"), "2;\n");
  git(root, "commit", "--quiet", "--all", "--message", "second");
  assert.equal(readRelease(root), `0.2.0-g${commit()}`);
});

test("changed code has a name of its own for each change, and gets the commit's back", async (t) => {
  if (!needsProgram(t, "git")) return;
  const { root, commit } = await checkout(t);
  git(root, "tag", "v0.2.0");
  const names = new Set<string>();
  const changes: (() => Promise<void>)[] = [
    async () => await writeFile(join(root, "node/main.ts"), "2;\n"),
    async () => await writeFile(join(root, "node/main.ts"), "3;\n"),
    async () => await writeFile(join(root, "node/added.ts"), "1;\n"),
    async () => await writeFile(join(root, "node/added.ts"), "2;\n"),
  ];
  for (const change of changes) {
    await change();
    const name = readRelease(root);
    assert.match(name, new RegExp(`^0\\.2\\.0-g${commit()}-dirty-[0-9a-f]{7}$`));
    assert.equal(readRelease(root), name, "the same change, the same name");
    names.add(name);
  }
  assert.equal(names.size, changes.length);
  await rm(join(root, "node/added.ts"));
  git(root, "checkout", "--quiet", "--", ".");
  await writeFile(join(root, "README.md"), "other text\n");
  assert.equal(readRelease(root), "0.2.0", "a README is no code");
});

test("what an editor leaves beside the code, or a repository inside of it, stops nothing", async (t) => {
  if (!needsProgram(t, "git")) return;
  const { root, commit } = await checkout(t);
  await symlink("somebody@somewhere.1234", join(root, "node/.#main.ts"));
  assert.match(readRelease(root), new RegExp(`^0\\.2\\.0-g${commit()}-dirty-[0-9a-f]{7}$`));
  await mkdir(join(root, "node/inner/.git"), { recursive: true });
  git(join(root, "node/inner"), "init", "--quiet");
  assert.equal(readRelease(root), `0.2.0-g${commit()}-dirty`);
});

test("a repository that can't be read leaves the version", async (t) => {
  if (!needsProgram(t, "git")) return;
  const { root } = await checkout(t);
  await rm(join(root, ".git/HEAD"));
  assert.equal(readRelease(root), "0.2.0");
});

test("a worktree, whose .git is a file, is a checkout", async (t) => {
  if (!needsProgram(t, "git")) return;
  const { root, commit } = await checkout(t);
  const tree = join(await temporaryDirectory(t), "tree");
  git(root, "worktree", "add", "--quiet", tree);
  assert.equal(readRelease(tree), `0.2.0-g${commit()}`);
});

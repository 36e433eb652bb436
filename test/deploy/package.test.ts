/** What `npm pack` makes installs into an empty folder and runs there: Node strips no types below node_modules. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { needsProgram } from "../support/needs.ts";
import { launcher, nearcast, startUp, temporaryFolder } from "./support/command.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

async function run(program: string, words: readonly string[], cwd: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile(program, words, { cwd, timeout: 300_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${words.join(" ")}: ${error.message}\n${stderr}`));
    });
  });
}

test("the packed package installs into an empty folder, checks a document, and serves a picture", async (t) => {
  if (!needsProgram(t, "npm")) return;
  const folder = await temporaryFolder(t, "package");
  await run("npm", ["pack", "--silent", "--pack-destination", folder], root);
  const [tarball = ""] = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
  await writeFile(join(folder, "package.json"), "{}");
  await run("npm", ["install", `./${tarball}`, "--prefer-offline", "--no-audit", "--no-fund"], folder);

  const installed = join(folder, "node_modules", "nearcast");
  const files = await readdir(installed, { recursive: true });
  assert.deepEqual(
    files.filter((file) => file.endsWith(".ts")),
    [],
    "sources have no use in a package",
  );
  for (const file of ["LICENSE", "deploy/config/fleet.example.yaml"]) assert.ok(files.includes(file), file);

  const program = join(installed, "deploy", "nearcast.mjs");
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  assert.equal((await nearcast(["--version"], { program, cwd: folder })).stdout, `${version}\n`);
  const checked = await nearcast(["fleet", "check", join(installed, "deploy/config/fleet.example.yaml")], { program });
  assert.equal(checked.status, 0, checked.stderr);

  const up = await startUp(t, join(folder, "data"), { program });
  const answer = await fetch(`http://${up.address}:8080/sample.jpg?w=320&auto=format`, {
    headers: { accept: "image/webp" },
  });
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "image/webp"]);
  assert.equal((await nearcast(["status", "--data", join(folder, "data")], { program })).status, 0);
  assert.equal(await up.stop(), 0);
});

test("a Node that is too old is told so in a sentence", async () => {
  const pretend = `data:text/javascript,Object.defineProperty(process, "versions", { value: { node: "20.11.1" } })`;
  const stderr = await new Promise<string>((resolve) => {
    execFile(process.execPath, ["--import", pretend, launcher, "ls"], (error, _stdout, said) => {
      assert.equal(error?.code, 2);
      resolve(said);
    });
  });
  assert.match(stderr, /needs Node 24\.12 or newer; this is Node 20\.11\.1/);
});

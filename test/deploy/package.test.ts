/** What `npm pack` makes installs into an empty folder and runs there: Node strips no types below node_modules. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdir, readFile, realpath, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { needs, needsProgram } from "../support/needs.ts";
import { launcher, nearcast, startUp, temporaryFolder } from "./support/command.ts";
import { installer } from "./support/installed.ts";
import { packed } from "./support/packed.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

async function run(program: string, words: readonly string[], cwd: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    execFile(program, words, { cwd, timeout: 300_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${program} ${words.join(" ")}: ${error.message}\n${stderr}`));
    });
  });
}

/** Path below the package → version, of all that is installed without the tools of development. */
async function versionsIn(lockFile: string): Promise<Map<string, string>> {
  const { packages } = JSON.parse(await readFile(lockFile, "utf8")) as {
    packages: Record<string, { version: string; dev?: boolean }>;
  };
  return new Map(
    Object.entries(packages)
      .filter(([path, { dev }]) => path !== "" && dev !== true)
      .map(([path, { version }]) => [path, version]),
  );
}

test("the tarball has the lock of what was tested, without tools, and packing leaves none behind", async (t) => {
  if (!needsProgram(t, "npm")) return;
  const { tarball, sources } = await packed(t);
  assert.ok(!(await readdir(sources)).includes("npm-shrinkwrap.json"), "npm would take it for the lock of a checkout");
  const folder = await temporaryFolder(t, "package");
  await run("tar", ["-xzf", tarball, "-C", folder], folder);
  const shrinkwrap = join(folder, "package/npm-shrinkwrap.json");
  assert.deepEqual(await versionsIn(shrinkwrap), await versionsIn(join(root, "package-lock.json")));
  const { packages } = JSON.parse(await readFile(shrinkwrap, "utf8")) as { packages: Record<string, object> };
  const flags = new Set(Object.values(packages).flatMap((locked) => Object.keys(locked)));
  for (const flag of ["dev", "devOptional", "devDependencies"]) assert.ok(!flags.has(flag), flag);
  assert.ok((await versionsIn(shrinkwrap)).has("node_modules/koffi"), "what is optional is in it, too");
});

test("install.sh installs each dependency in the version that was tested, and the sandbox works there", async (t) => {
  if (!needsProgram(t, "npm") || !needsProgram(t, "curl")) return;
  const { run: install, realNode, root: target } = await installer(t);
  const reached = await run("npm", ["view", "npm", "version"], root).then(() => "", String);
  if (!needs(t, reached === "", `install.sh can't fetch npm here: ${reached}`)) return;
  const { tarball } = await packed(t);
  const done = await install("--origin", "--package", tarball, ...realNode);
  assert.equal(done.status, 0, done.stderr);

  const release = join(await realpath(join(target, "opt/nearcast/current")), "../..");
  const locked = await versionsIn(join(root, "package-lock.json"));
  // npm's own account of what it put there; it leaves out what is for other systems.
  const there = await versionsIn(join(release, "node_modules/.package-lock.json"));
  assert.ok(there.size > 70, `${there.size} packages`);
  for (const [path, version] of there) {
    assert.equal(version, locked.get(path), path);
    const manifest = JSON.parse(await readFile(join(release, path, "package.json"), "utf8")) as { version: string };
    assert.equal(manifest.version, version, path);
  }
  const required = ["fastify", "sharp", "koffi", "undici", "pino", "@fastify/error", "find-my-way"];
  for (const name of required) assert.ok(there.has(`node_modules/${name}`), name);

  const program = join(target, "opt/nearcast/current/deploy/nearcast.mjs");
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  assert.equal((await nearcast(["--version"], { program })).stdout, `${version}\n`);
  const pool = join(target, "opt/nearcast/current/dist/node/image/pool.js");
  const asked = `
    const { openDecoderPool } = await import(${JSON.stringify(pool)});
    const { systemClock } = await import(${JSON.stringify(pool.replace("image/pool", "base/clock"))});
    const log = { info() {}, warn() {}, error() {} };
    const pool = openDecoderPool({ size: 1, clock: systemClock, log });
    await pool.ready();
    console.log(pool.stats().sandbox);
    await pool.close();`;
  const words = ["--input-type=module", "--eval", asked];
  assert.equal(await run(process.execPath, words, target), "seccomp\n");
});

test("the packed package installs into an empty folder, checks a document, and serves a picture", async (t) => {
  if (!needsProgram(t, "npm")) return;
  const folder = await temporaryFolder(t, "package");
  const { tarball } = await packed(t);
  await writeFile(join(folder, "package.json"), "{}");
  await run("npm", ["install", tarball, "--prefer-offline", "--no-audit", "--no-fund"], folder);

  const installed = join(folder, "node_modules", "nearcast");
  const files = await readdir(installed, { recursive: true });
  assert.deepEqual(
    files.filter((file) => file.endsWith(".ts")),
    [],
    "sources have no use in a package",
  );
  for (const file of ["LICENSE", "deploy/config/fleet.example.yaml", "deploy/docs/tutorial.md"])
    assert.ok(files.includes(file), file);

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

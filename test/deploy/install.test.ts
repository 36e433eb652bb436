/** deploy/install.sh: run against a folder, twice, with another release, back, and away again. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { lstat, mkdir, readdir, readFile, readlink, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { installer } from "./support/installed.ts";

const deploy = fileURLToPath(new URL("../../deploy/", import.meta.url));

/** Every path below a folder with what it is and when it was changed. */
async function treeOf(root: string): Promise<string[]> {
  const paths = await readdir(root, { recursive: true });
  const lines = await Promise.all(
    paths.map(async (path) => {
      const found = await lstat(join(root, path));
      return `${path} ${found.mode.toString(8)} ${found.isDirectory() ? "" : found.mtimeMs}`;
    }),
  );
  return lines.toSorted();
}

test("a first run puts everything in its place, a second one changes nothing", async (t) => {
  const { root, run, node, release } = await installer(t);
  const words = ["--origin", "--edge", "--package", await release("1.2.3"), ...node];
  const first = await run(...words);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, /nearcast 1\.2\.3 is installed/);
  assert.match((await run("--use", "previous")).stderr, /there is no previous release/);
  assert.equal(await readlink(join(root, "opt/nearcast/current")), "releases/1.2.3/node_modules/nearcast");
  assert.ok((await stat(join(root, "opt/nearcast/node/bin/node"))).mode & 0o111);
  for (const file of ["systemd/nearcast-edge.service", "systemd/nearcast-origin.service"]) {
    const installed = await readFile(join(root, "etc/systemd/system", file.replace("systemd/", "")), "utf8");
    assert.equal(installed, await readFile(join(deploy, file), "utf8"));
  }
  assert.match(await readFile(join(root, "usr/local/bin/nearcast"), "utf8"), /^exec .*nearcast\.mjs "\$@"$/m);
  assert.equal((await stat(join(root, "var/lib/nearcast"))).mode & 0o777, 0o700);
  assert.ok((await stat(join(root, "etc/sysctl.d/90-nearcast.conf"))).isFile());
  assert.ok((await stat(join(root, "etc/systemd/system/bird.service.d/nearcast.conf"))).isFile());

  const before = await treeOf(root);
  const second = await run(...words);
  assert.deepEqual([second.status, second.stdout], [0, "nearcast 1.2.3 is already installed; nothing to do\n"]);
  assert.deepEqual(await treeOf(root), before);
});

test("settings that are there are never touched", async (t) => {
  const { root, run, node, release } = await installer(t);
  await run("--origin", "--package", await release("1.2.3"), ...node);
  const file = join(root, "etc/nearcast/origin.yaml");
  await writeFile(file, "mine");
  assert.equal((await run("--origin", "--package", await release("1.2.4"), ...node)).status, 0);
  assert.equal(await readFile(file, "utf8"), "mine");
});

test("a new release stands beside the old one, and the old one can be had back", async (t) => {
  const { root, run, node, release } = await installer(t);
  const current = async (): Promise<string> => await readlink(join(root, "opt/nearcast/current"));
  for (const version of ["1.2.3", "1.3.0"]) {
    assert.equal((await run("--edge", "--package", await release(version), ...node)).status, 0);
    assert.match(await current(), new RegExp(`releases/${version}/`));
  }
  const back = await run("--use", "1.2.3");
  assert.equal(back.status, 0, back.stderr);
  assert.match(await current(), /releases\/1\.2\.3\//);
  assert.equal((await run("--edge", "--package", await release("1.4.0"), ...node)).status, 0);
  assert.equal((await run("--edge", "--package", await release("1.5.0"), ...node)).status, 0);
  for (const version of ["1.4.0", "1.5.0"]) {
    assert.equal((await run("--use", "previous")).status, 0);
    assert.match(await current(), new RegExp(`releases/${version}/`), "neither the oldest nor the one before that");
  }
  const unknown = await run("--use", "9.9.9");
  assert.equal(unknown.status, 1);
  assert.match(unknown.stderr, /9\.9\.9 is not installed; installed: 1\.2\.3 1\.3\.0 1\.4\.0 1\.5\.0/);
});

test("other code under the same version is noticed, and stands beside the first under a name of its own", async (t) => {
  const { root, run, node, release } = await installer(t);
  const current = async (): Promise<string> => await readlink(join(root, "opt/nearcast/current"));
  await run("--edge", "--package", await release("1.2.3", "let a = 1;"), ...node);
  const same = await run("--edge", "--package", await release("1.2.3", "let a = 1;"), ...node);
  assert.equal(same.stdout, "nearcast 1.2.3 is already installed; nothing to do\n");

  const words = ["--edge", "--package", await release("1.2.3", "let a = 2;"), ...node];
  const changed = await run(...words);
  assert.equal(changed.status, 0, changed.stderr);
  const [, name = ""] =
    /^nearcast 1\.2\.3 is already installed with different code; this one is installed as (\S+)$/m.exec(
      changed.stdout,
    ) ?? [];
  assert.match(name, /^1\.2\.3\+[0-9a-f]{8}$/);
  assert.equal(await current(), `releases/${name}/node_modules/nearcast`);
  assert.equal(await readFile(join(root, "opt/nearcast/current/code.js"), "utf8"), "let a = 2;");

  assert.equal((await run(...words)).stdout, `nearcast ${name} is already installed; nothing to do\n`);
  assert.equal((await run("--use", "1.2.3")).status, 0);
  assert.equal(await readFile(join(root, "opt/nearcast/current/code.js"), "utf8"), "let a = 1;");
});

test("a Node with another checksum is refused before anything of it is unpacked", async (t) => {
  const { root, run, node, release } = await installer(t);
  const [option = "", tarball = ""] = node;
  for (const sum of [[], ["--node-sha256", "0".repeat(64)]]) {
    const { status, stderr } = await run("--edge", "--package", await release("1.2.3"), option, tarball, ...sum);
    assert.equal(status, 1);
    assert.match(stderr, /the SHA-256 of .* is not [0-9a-f]{64}; the file was not used/);
  }
  assert.deepEqual(await readdir(join(root, "opt/nearcast")), ["releases"]);
});

test("a dry run says what it would do, and does nothing", async (t) => {
  const { root, run, node, release } = await installer(t);
  const { status, stdout } = await run("--edge", "--dry-run", "--package", await release("1.2.3"), ...node);
  assert.equal(status, 0);
  assert.match(stdout, /nearcast-edge\.service/);
  await assert.rejects(stat(root), /ENOENT/);
});

test("a dry run beside an installed release changes nothing, from a package and from a checkout", async (t) => {
  const { root, run, node, release } = await installer(t);
  const { version } = JSON.parse(await readFile(join(deploy, "../package.json"), "utf8")) as { version: string };
  assert.equal((await run("--edge", "--package", await release(version), ...node)).status, 0);
  await mkdir(join(root, "opt/nearcast/releases/9.9.9.new"));
  const before = await treeOf(root);
  for (const words of [["--package", await release("9.9.9")], []]) {
    const { status, stderr } = await run("--edge", "--dry-run", ...words, ...node);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.deepEqual(await treeOf(root), before);
  }
});

test("it is taken away again but for settings and data", async (t) => {
  const { root, run, node, release } = await installer(t);
  await run("--origin", "--edge", "--package", await release("1.2.3"), ...node);
  const removed = await run("--remove");
  assert.equal(removed.status, 0, removed.stderr);
  const left = (await treeOf(root)).map((line) => line.split(" ")[0] ?? "");
  const files = left.filter((path) => /nearcast/.test(path));
  assert.deepEqual(files, [
    "etc/nearcast",
    "etc/nearcast/edge.example.yaml",
    "etc/nearcast/origin.yaml",
    "var/lib/nearcast",
    "var/lib/nearcast-origin",
  ]);
  assert.equal((await run("--remove")).status, 0);
});

test("mistakes are reported in a sentence", async (t) => {
  const { run } = await installer(t);
  const cases: [words: string[], says: RegExp][] = [
    [[], /--origin, --edge or --command/],
    [["--fly"], /unknown option --fly/],
    [["--package"], /--package needs a value/],
  ];
  for (const [words, says] of cases) {
    const { status, stderr } = await run(...words);
    assert.equal(status, 1, words.join(" "));
    assert.match(stderr, says);
  }
  assert.match((await run("--help")).stdout, /^Usage: install\.sh/);
});

test("all scripts are valid for any POSIX shell", async () => {
  const files = (await readdir(deploy, { recursive: true })).filter((file) => file.endsWith(".sh"));
  assert.deepEqual(files.toSorted(), [
    "bird/daisy-chain.sh",
    "bird/lease-guard.sh",
    "install.sh",
    "release.sh",
    "systemd/service-addresses.sh",
  ]);
  for (const file of files) {
    const text = await readFile(join(deploy, file), "utf8");
    assert.match(text, /^#!\/bin\/sh\n/);
    assert.match(text, /^set -eu$/m);
    assert.ok((await stat(join(deploy, file))).mode & 0o100, `${file} can be executed`);
    await new Promise<void>((resolve, reject) => {
      execFile("sh", ["-n", join(deploy, file)], (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }
});

/** Settings that need koffi: edge and origin as processes, where it is not to be had, or the sandbox is not. */
import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { systemRandom } from "#base/random.ts";
import { start } from "../support/started.ts";
import { temporaryDirectory } from "../support/temporary.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const withoutCall = fileURLToPath(new URL("../support/without-call.ts", import.meta.url));

const withoutKoffi = (t: TestContext): Promise<string> => copyOf(t, ["koffi"]);

/** The sources, with all of their packages but some. */
async function copyOf(t: TestContext, missing: readonly string[]): Promise<string> {
  const copy = await temporaryDirectory(t);
  for (const source of ["node", "dns", "origin", "deploy", "package.json"]) {
    await cp(join(root, source), join(copy, source), { recursive: true });
  }
  await mkdir(join(copy, "node_modules"));
  for (const name of await readdir(join(root, "node_modules"))) {
    if (!missing.includes(name)) await symlink(join(root, "node_modules", name), join(copy, "node_modules", name));
  }
  return copy;
}

/** Settings of an edge and of an origin, each with the sandbox as wanted. The edge's origin answers nobody. */
async function settings(t: TestContext, sandbox: "auto" | "required"): Promise<Record<"edge" | "origin", string>> {
  const directory = await temporaryDirectory(t);
  const [edge, origin, token] = ["edge.yaml", "origin.yaml", "edge.token"].map((name) => join(directory, name));
  assert.ok(edge !== undefined && origin !== undefined && token !== undefined);
  await writeFile(token, "t".repeat(43), { mode: 0o600 });
  const any = "{ host: 127.0.0.1, port: 0 }";
  await writeFile(
    edge,
    `{ node: fra1, site: fra, dataDir: ${directory}/edge, origin: { url: "http://127.0.0.1:9", tokenFile: ${token} },
       http: [${any}], admin: ${any}, dns: { addresses: [] }, decoders: { sandbox: ${sandbox} } }`,
  );
  await writeFile(
    origin,
    `{ dataDir: ${directory}/origin, listen: ${any}, drainMs: 0, decoders: { sandbox: ${sandbox} } }`,
  );
  return { edge, origin };
}

for (const role of ["edge", "origin"] as const) {
  const main = `${role === "edge" ? "node" : "origin"}/main.ts`;

  test(`${role}: without koffi it does not start where the sandbox is required, and says why`, async (t) => {
    const copy = await withoutKoffi(t);
    const { [role]: file } = await settings(t, "required");
    const ran = start(t, [join(copy, main), "--config", file]);
    assert.equal(await ran.ended, 2, ran.said());
    assert.match(ran.said(), /decoders\.sandbox: is `required`, but .*koffi, an optional dependency, can't be loaded/);
    assert.match(ran.said(), /set it to `auto`/);
  });

  test(`${role}: nor on a kernel that takes no filter`, async (t) => {
    const { [role]: file } = await settings(t, "required");
    const ran = start(t, [withoutCall, "seccomp", process.execPath, join(root, main), "--config", file]);
    assert.equal(await ran.ended, 2, ran.said());
    assert.match(ran.said(), /decoders\.sandbox: is `required`, but .*(?:seccomp|system-call filter|io_uring)/);
  });

  test(`${role}: with the sandbox there it starts`, async (t) => {
    const { [role]: file } = await settings(t, "required");
    const ran = start(t, [join(root, main), "--config", file]);
    assert.ok(await ran.saying("decoder processes are sandboxed by a system-call filter"), ran.said());
    assert.equal(ran.child.exitCode, null, ran.said());
    ran.child.kill("SIGKILL");
    await ran.ended;
  });

  test(`${role}: by default it works without, and says so in its log`, async (t) => {
    const copy = await withoutKoffi(t);
    const { [role]: file } = await settings(t, "auto");
    const ran = start(t, [join(copy, main), "--config", file]);
    assert.ok(await ran.saying("decoder processes are not sandboxed"), ran.said());
    assert.match(ran.said(), /"reason":"koffi, an optional dependency, can't be loaded"/);
    ran.child.kill("SIGKILL");
    await ran.ended;
  });
}

test("lanes: without koffi an edge does not start where a number of them is wanted, and says why", async (t) => {
  const copy = await withoutKoffi(t);
  const { edge } = await settings(t, "auto");
  const text = await readFile(edge, "utf8");
  await writeFile(edge, text.replace("{ node:", "{ front: { lanes: 2 }, node:"));
  const ran = start(t, [join(copy, "node/main.ts"), "--config", edge]);
  assert.equal(await ran.ended, 2, ran.said());
  assert.match(ran.said(), /front\.lanes: is 2, but lanes can't run here: koffi.* can't be loaded/);
  await writeFile(edge, text.replace("{ node:", "{ front: { lanes: auto }, node:"));
});

/** What an edge with default settings says for its lack of lanes, in its status. It takes connections all the same. */
async function withoutLanes(t: TestContext, words: readonly string[]): Promise<string> {
  const { edge } = await settings(t, "auto");
  const text = await readFile(edge, "utf8");
  const host = `127.77.${1 + Math.floor(systemRandom() * 250)}.${1 + Math.floor(systemRandom() * 250)}`;
  await writeFile(
    edge,
    text
      .replaceAll("host: 127.0.0.1, port: 0", `host: ${host}, port: 0`)
      .replace(/admin: .*?\}/, `admin: { host: ${host}, port: 8081 }`),
  );
  const ran = start(t, [...words, "--config", edge]);
  assert.ok(await ran.saying("lanes can't run here: the main thread owns the connections of clients"), ran.said());
  const response = await fetch(`http://${host}:8081/status`);
  const { lanes } = (await response.json()) as { lanes: { count: number; absent: string } };
  assert.equal(lanes.count, 0);
  assert.ok(ran.said().includes(JSON.stringify({ reason: lanes.absent }).slice(1, -1)), ran.said());
  assert.equal(ran.child.exitCode, null);
  ran.child.kill("SIGKILL");
  await ran.ended;
  return lanes.absent;
}

test("lanes: by default an edge works without koffi, and says so in its log and status", async (t) => {
  const copy = await withoutKoffi(t);
  assert.match(await withoutLanes(t, [join(copy, "node/main.ts")]), /^koffi.* can't be loaded$/);
});

test("lanes: by default an edge works in a sandbox that refuses one of their system calls", async (t) => {
  const words = [withoutCall, "sendfile", process.execPath, join(root, "node/main.ts")];
  assert.equal(await withoutLanes(t, words), "the kernel refuses sendfile");
});

test("lanes: by default an edge works where their threads can't be started", async (t) => {
  const copy = await copyOf(t, []);
  await writeFile(join(copy, "node/front/lane/lane-thread.ts"), 'throw new Error("no thread today");\n');
  assert.equal(await withoutLanes(t, [join(copy, "node/main.ts")]), "a thread can't be started: no thread today");
});

test("lanes: by default an edge works with few open files", async (t) => {
  const words = [
    "-e",
    `process.execve("/bin/sh", ["sh", "-c", 'ulimit -n 1024; exec "$0" "$@"', ...process.argv], process.env)`,
  ];
  const reason = await withoutLanes(t, [...words, join(root, "node/main.ts")]);
  assert.match(reason, /^the limit on open files is 1024, and lanes need 4096/);
});

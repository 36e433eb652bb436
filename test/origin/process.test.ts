/** The origin as a process: its flags, its settings, its end. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chown, readFile, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { text } from "node:stream/consumers";
import { codeOf, jpeg, raw, startTestOrigin, temporaryDirectory } from "./running-origin.ts";

const main = fileURLToPath(new URL("../../origin/main.ts", import.meta.url));

function spawnOrigin(
  t: TestContext,
  words: string[],
  environment: Record<string, string> = {},
  stdin: "ignore" | "pipe" = "ignore",
) {
  const child = spawn(process.execPath, [main, ...words], {
    stdio: [stdin, "pipe", "pipe"],
    env: { ...process.env, NEARCAST_ORIGIN_LOG__LEVEL: "error", ...environment },
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

async function urlOf(child: ChildProcess): Promise<string> {
  assert.ok(child.stdout !== null);
  child.stdout.setEncoding("utf8");
  let said = "";
  for await (const chunk of child.stdout) {
    said += String(chunk);
    const url = /^origin listens at (http:\S+)\n/.exec(said)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error(`the origin ended: ${said}`);
}

/** Those that are still there then are killed behind the test. */
const exitMsMax = 60_000;

async function exitOf(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  const [status] = (await once(child, "exit", { signal: AbortSignal.timeout(exitMsMax) })) as [number | null];
  return status;
}

async function run(t: TestContext, words: string[], environment: Record<string, string> = {}) {
  const child = spawnOrigin(t, words, environment);
  assert.ok(child.stdout !== null && child.stderr !== null);
  const [status, out, err] = await Promise.all([exitOf(child), text(child.stdout), text(child.stderr)]);
  return { status, out, err };
}

const directoryOf = async (t: TestContext): Promise<string> =>
  await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });

test("settings with problems are refused with all of them, before anything is touched", async (t) => {
  const directory = await directoryOf(t);
  const file = join(directory, "origin.yaml");
  await writeFile(file, "listen: { port: 70000 }\ncolour: red\nkeep: { events: 1 }\n");
  const bad = await run(t, ["--config", file]);
  assert.equal(bad.status, 2);
  for (const part of [
    "listen.port (line 1): 70000 is above the maximum of 65535",
    "colour (line 2): is not a known key",
    "keep.events (line 3): 1 is below the minimum of 10",
  ]) {
    assert.ok(bad.err.includes(part), bad.err);
  }
  const variable = await run(t, ["--check-config"], { NEARCAST_ORIGIN_LISTEN__PROT: "1" });
  assert.equal(variable.status, 2);
  assert.match(variable.err, /listen\.prot: is not a known key; did you mean port\?/);
  assert.equal((await run(t, ["--port", "many", "--check-config"])).status, 2);
  assert.equal((await run(t, ["--colour"])).status, 2);
  assert.equal((await run(t, ["--config", join(directory, "none.yaml")])).status, 2);

  await writeFile(file, "dataDir: ./x\nlisten: { port: 1 }\n");
  const good = await run(t, ["--config", file, "--check-config"], { NEARCAST_ORIGIN_LISTEN__PORT: "2" });
  assert.deepEqual([good.status, good.out], [0, `${file}: ok\n`]);
  assert.match((await run(t, ["--help"])).out, /^Usage: /);
});

test("a data directory that can't be created is named, with the setting to change", async (t) => {
  const file = join(await directoryOf(t), "file");
  await writeFile(file, "");
  const { status, err } = await run(t, ["--data", join(file, "origin"), "--port", "0"]);
  assert.equal(status, 1);
  assert.ok(err.includes(`can't create the data directory ${file}/origin: part of its path is not a directory. `), err);
  assert.match(err, /Set dataDir \(--data\) to a directory that the origin's user can write to/);
});

test("SIGTERM lets a running upload finish, ends the feed, and ends the process with status 0", async (t) => {
  const directory = await directoryOf(t);
  const child = spawnOrigin(t, ["--data", directory, "--port", "0"]);
  const url = await urlOf(child);
  const authorization = `Bearer ${(await readFile(join(directory, "secrets", "writer.token"), "utf8")).trim()}`;
  const feed = await fetch(`${url}/api/v1/feed`, { headers: { authorization } });
  const body = await jpeg(1, 200, 200);
  const upload = request(`${url}/api/v1/images/last.jpg`, {
    method: "PUT",
    headers: { authorization, "content-length": body.length, expect: "100-continue" },
  });
  upload.flushHeaders();
  await once(upload, "continue");
  upload.write(body.subarray(0, 100));
  const exited = exitOf(child);
  child.kill("SIGTERM");
  // The feed's end tells that the drain has begun.
  assert.match(await feed.text(), /^event: hello/);
  upload.end(body.subarray(100));
  const [answer] = (await once(upload, "response")) as [IncomingMessage];
  assert.equal(answer.statusCode, 201);
  answer.resume();
  assert.equal(await exited, 0);

  const again = spawnOrigin(t, ["--data", directory, "--port", "0"]);
  const stored = await fetch(`${await urlOf(again)}/api/v1/images/last.jpg`, { headers: { authorization } });
  assert.deepEqual(Buffer.from(await stored.arrayBuffer()), body);
  again.kill("SIGINT");
  assert.equal(await exitOf(again), 0);
});

test("a second origin on the same directory is refused, also within one process", async (t) => {
  const directory = await directoryOf(t);
  const child = spawnOrigin(t, ["--data", directory, "--port", "0"]);
  const url = await urlOf(child);
  const second = await run(t, ["--data", directory, "--port", "0"]);
  assert.equal(second.status, 1);
  assert.match(second.err, /another origin is running/);
  await assert.rejects(startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { dataDir: directory }), {
    code: "CONFLICT",
  });
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  // A killed origin holds nothing.
  child.kill("SIGKILL");
  await exitOf(child);
  await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { dataDir: directory });
});

test("an origin that was started with its parent ends with it", async (t) => {
  const child = spawnOrigin(t, ["--data", await directoryOf(t), "--port", "0", "--with-parent"], {}, "pipe");
  await urlOf(child);
  child.stdin?.end();
  assert.equal(await exitOf(child), 0);
});

test("an upload that does not end is cut when the drain is over, and leaves nothing", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { config: { drainMs: 50 } });
  const body = await jpeg(2);
  const answer = await raw(
    origin.port,
    Buffer.concat([
      Buffer.from(
        `PUT /api/v1/images/never.jpg HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${origin.tokens.writer}\r\n` +
          `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
      ),
      body.subarray(0, 50),
    ]),
    (received) => {
      if (received.includes("100 Continue")) void origin.close();
      return false;
    },
  );
  assert.equal(codeOf(answer), "");
  await origin.close();
  const again = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { dataDir: origin.dataDir });
  assert.equal((await again.call("HEAD", "/images/never.jpg")).status, 404);
});

test("decoders run in a service of any niceness", async (t) => {
  const directory = await directoryOf(t);
  const asNobody = process.getuid?.() === 0 ? ["setpriv", "--reuid", "65534", "--clear-groups"] : [];
  if (asNobody.length > 0) await chown(directory, 65_534, 65_534);
  const origin = [process.execPath, main, "--data", join(directory, "data"), "--port", "0"];
  const [command = "", ...words] = [...asNobody, "nice", "-n", "15", ...origin];
  const environment = { ...process.env, NEARCAST_ORIGIN_DECODERS__SANDBOX: "required" };
  const child = spawn(command, words, { stdio: ["ignore", "pipe", "inherit"], env: environment });
  t.after(() => child.kill("SIGKILL"));
  assert.match(await urlOf(child), /^http:/);
});

/**
 * The disk fails while the origin runs: the log says which file it is and what to do, the writer gets a clear refusal,
 * reads go on, and nothing that was acknowledged is lost.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { keptLog } from "../support/kept-log.ts";
import { needs } from "../support/needs.ts";
import { jpeg, startTestOrigin, temporaryDirectory } from "./running-origin.ts";

const headers = { "content-type": "application/json" };

test("a catalogue that is damaged while it is in use is named in the log with what to do", async (t) => {
  const scope = { after: (cleanUp: () => Promise<void>) => t.after(cleanUp) };
  const { log, lines } = keptLog();
  const origin = await startTestOrigin(scope, { log });
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  for (let mark = 0; mark < 40; mark += 1) {
    const names = Array.from({ length: 100 }, (_, index) => `${mark}/${index}.jpg`);
    await origin.json(202, "POST", "/purges", { body: JSON.stringify({ names }), headers });
  }
  const path = join(origin.dataDir, "catalogue.sqlite");
  // Another connection changes something and moves everything into the file, so that the origin reads its pages anew.
  const other = new DatabaseSync(path);
  other.exec("INSERT INTO meta (key, value) VALUES ('touched', '1'); PRAGMA wal_checkpoint(TRUNCATE)");
  other.close();
  const file = await open(path, "r+");
  const { size } = await file.stat();
  await file.write(Buffer.alloc(size - 4096, 0x55), 0, size - 4096, 4096);
  await file.sync();
  await file.close();

  const asked: [method: string, path: string, body?: string][] = [
    ["GET", "/images"],
    ["GET", "/images/a.jpg"],
    ["GET", "/versions/a.jpg"],
    ["GET", "/fleet"],
    ["GET", "/audit"],
    ["POST", "/purges", JSON.stringify({ names: ["a.jpg"] })],
    ["DELETE", "/images/a.jpg"],
  ];
  for (const [method, target, body] of asked) {
    const answer = await origin.call(method, target, body === undefined ? {} : { body, headers });
    const problem = (await answer.json()) as { code: string };
    assert.deepEqual([answer.status, problem.code], [500, "DISK_FAILED"], `${method} ${target}`);
    assert.ok(!JSON.stringify(problem).includes(path), "paths are for the log alone");
  }
  const told = lines.flatMap(({ level, facts }) =>
    level === "error" ? [String((facts["err"] as Error | undefined)?.message)] : [],
  );
  assert.ok(told.length >= 3, "lines of one kind are bounded, but not so much");
  for (const one of told) {
    assert.ok(one.startsWith(`the catalogue ${path} is damaged: `), one);
    assert.match(one, /`npx nearcast restore FOLDER --force`\. Then run `npx nearcast verify`/);
  }
});

/** An origin whose data are on a small disk of its own, and a shell that can reach that disk. */
async function startOnSmallDisk(t: TestContext) {
  const directory = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const disk = join(directory, "disk");
  await mkdir(disk);
  const shell = spawn("unshare", ["-Urm", "sh"], { stdio: ["pipe", "pipe", "inherit"], cwd: directory });
  t.after(async () => {
    shell.stdin.end("kill $! 2>/dev/null; wait\n");
    await once(shell, "close");
  });
  const words = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => String((await words.next()).value);
  const run = async (command: string): Promise<void> => {
    shell.stdin.write(`${command}; echo "status $?"\n`);
    assert.equal(await next(), "status 0", command);
  };
  await run(`mount -t tmpfs -o size=4m tmpfs ${disk}`);
  const main = join(import.meta.dirname, "../../origin/main.ts");
  shell.stdin.write(`"${process.execPath}" ${main} --data ${disk}/data --port 0 2>${directory}/log </dev/null &\n`);
  const url = /^origin listens at (\S+)$/.exec(await next())?.[1] ?? "";
  await run(`cp ${disk}/data/secrets/writer.token ${directory}/token`);
  const token = (await readFile(join(directory, "token"), "utf8")).trim();
  const call = async (method: string, path: string, body?: Buffer | string) => {
    const answer = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(typeof body === "string" ? headers : {}) },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : new Uint8Array(body) }),
    });
    const bytes = Buffer.from(await answer.arrayBuffer());
    const text = bytes.toString("latin1");
    const [code, detail] = [/"code":"([A-Z_]+)"/, /"detail":"([^"]*)"/].map((field) => field.exec(text)?.[1]);
    return { status: answer.status, bytes, code, detail };
  };
  return { disk, run, call, log: async () => await readFile(join(directory, "log"), "utf8") };
}

test("a disk that is full, then read-only: writers are refused, reads go on, and afterwards all goes on", async (t) => {
  const isAllowed = spawnSync("unshare", ["-Urm", "true"]).status === 0;
  if (!needs(t, isAllowed, "no mount namespace of our own")) return;
  const { disk, run, call, log } = await startOnSmallDisk(t);
  const kept = new Map<string, Buffer>();
  const put = async (name: string, mark: number): Promise<Omit<Awaited<ReturnType<typeof call>>, "bytes">> => {
    const body = await jpeg(mark, 200, 200);
    const answer = await call("PUT", `/images/${name}`, body);
    if (answer.status === 201) kept.set(name, body);
    return answer;
  };
  const readsGoOn = async (when: string): Promise<void> => {
    for (const [name, body] of kept) {
      const answer = await call("GET", `/images/${name}`);
      assert.equal(answer.status, 200, `${name}, ${when}`);
      assert.ok(answer.bytes.equals(body), `${name}, ${when}`);
    }
    assert.equal((await call("GET", "/images")).status, 200, when);
  };
  assert.equal((await put("a.jpg", 1)).status, 201);

  await run(`cat /dev/zero > ${disk}/filler 2>/dev/null; true`);
  const full = await put("full.jpg", 2);
  const isFull = "the disk of the origin is full: free some space, then try again";
  assert.deepEqual([full.status, full.code, full.detail], [500, "DISK_FAILED", isFull]);
  let refused: Omit<typeof full, "bytes"> = { ...full, status: 0 };
  // The catalogue's log has room of its own, until it has to grow.
  for (let count = 0; count < 200 && refused.status !== 500; count += 1) {
    const names = Array.from({ length: 500 }, (_, index) => `${count}/${index}.jpg`);
    refused = await call("POST", "/purges", JSON.stringify({ names }));
  }
  assert.deepEqual([refused.status, refused.code, refused.detail], [500, "DISK_FAILED", isFull]);
  assert.match(await log(), /the catalogue \S+catalogue\.sqlite can't be written: the disk is full\. Free some space/);
  await readsGoOn("full");
  await run(`rm ${disk}/filler`);
  assert.equal((await put("full.jpg", 2)).status, 201, "the same goes through once there is room");
  await readsGoOn("after it was full");

  await run(`mount --bind ${disk}/data ${disk}/data && mount -o remount,bind,ro ${disk}/data`);
  const readOnly = await put("read-only.jpg", 3);
  assert.deepEqual([readOnly.status, readOnly.code, readOnly.detail], [500, "DISK_FAILED", undefined]);
  assert.match(await log(), /EROFS/);
  await readsGoOn("read-only");
  await run(`umount ${disk}/data`);
  assert.equal((await put("read-only.jpg", 3)).status, 201);
  await readsGoOn("after it was read-only");
});

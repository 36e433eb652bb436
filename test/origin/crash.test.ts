/**
 * kill -9 at any moment loses nothing that was acknowledged: a real process, real uploads, many ends.
 *
 * After each end: every acknowledged version is there byte for byte, every stored blob has the bytes that its key
 * says, the event log has no gap, and what was on its way in is gone.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { seededRandom } from "#base/random.ts";
import { createEventStreamReader } from "#follow/event-stream.ts";
import { rounds, seedOr } from "../support/long.ts";
import { fleetExample, jpeg, temporaryDirectory } from "./running-origin.ts";

const roundsCount = rounds(10, 200);
const seed = seedOr(20_260_101);
const writers = 4;

const main = fileURLToPath(new URL("../../origin/main.ts", import.meta.url));

async function startProcess(dataDir: string): Promise<{ child: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [main, "--data", dataDir, "--port", "0"], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NEARCAST_ORIGIN_LOG__LEVEL: "warn" },
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /listens at (http:\S+)/.exec(line)?.[1];
    if (url !== undefined) return { child, url };
  }
  throw new Error("the origin ended before it listened");
}

interface Acknowledged {
  readonly name: string;
  readonly version: number;
  readonly sha256: string;
}

test(`every acknowledged upload outlives ${roundsCount} kills (SEED=${seed})`, async (t) => {
  const dataDir = await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) });
  const random = seededRandom(seed);
  const acknowledged: Acknowledged[] = [];
  let fleetVersion = 0;
  let mark = 0;
  let originId: string | undefined;
  for (let round = 0; round <= roundsCount; round += 1) {
    const { child, url } = await startProcess(dataDir);
    t.after(() => child.kill("SIGKILL"));
    assert.deepEqual(await readdir(join(dataDir, "incoming")), [], `round ${round}`);
    const token = (await readFile(join(dataDir, "secrets", "writer.token"), "utf8")).trim();
    const authorization = `Bearer ${token}`;

    for (const { name, version, sha256 } of acknowledged) {
      const answer = await fetch(`${url}/api/v1/images/${name}?version=${version}`, { headers: { authorization } });
      const bytes = Buffer.from(await answer.arrayBuffer());
      assert.equal(answer.status, 200, `round ${round}: ${name} version ${version}`);
      assert.equal(createHash("sha256").update(bytes).digest("hex"), sha256, `round ${round}: ${name}`);
    }
    const log = await readLog(url, authorization);
    assert.ok(log.seqs.length >= acknowledged.length);
    assert.deepEqual(
      log.seqs,
      [...log.seqs.keys()].map((index) => index + 1),
      "the log has a gap",
    );
    assert.equal(log.originId, (originId ??= log.originId));
    if (fleetVersion > 0) {
      const answer = await fetch(`${url}/api/v1/fleet?version=${fleetVersion}`, { headers: { authorization } });
      assert.equal(answer.status, 200, `fleet version ${fleetVersion}`);
      await answer.arrayBuffer();
    }
    for (const entry of await readdir(join(dataDir, "blobs"), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const digest = createHash("sha256")
        .update(await readFile(join(entry.parentPath, entry.name)))
        .digest("hex");
      assert.equal(digest, entry.name);
    }

    // Upload from several sides, and end the process in the midst of it, after some answers.
    let answersLeft = round === roundsCount ? 0 : 3 + Math.floor(random() * 12);
    const upload = async (writer: number): Promise<void> => {
      while (answersLeft > 0) {
        mark += 1;
        const body = await jpeg(mark, 64, 48);
        const name = `${writer % 2}/${Math.floor(random() * 3)}.jpg`;
        const answer = await fetch(`${url}/api/v1/images/${name}`, {
          method: "PUT",
          headers: { authorization },
          body: new Uint8Array(body),
        });
        assert.ok(answer.ok, await answer.clone().text());
        const { version, sha256 } = (await answer.json()) as Acknowledged;
        acknowledged.push({ name, version, sha256 });
        answersLeft -= 1;
        if (answersLeft === 0) child.kill("SIGKILL");
      }
    };
    let isUploading = true;
    const isGoingOn = (): boolean => isUploading && answersLeft > 0;
    const publish = async (): Promise<void> => {
      while (isGoingOn()) {
        const body = fleetExample([`s${mark}`]);
        const answer = await fetch(`${url}/api/v1/fleet?force=true`, {
          method: "PUT",
          headers: { authorization },
          body,
        });
        fleetVersion = ((await answer.json()) as { version: number }).version;
      }
    };
    const ended = once(child, "exit");
    if (round === roundsCount) child.kill("SIGKILL");
    // Uploads that the kill cut off fail; an answer that is not 2xx is none of them.
    const uploads = Promise.allSettled(Array.from({ length: writers }, async (_, index) => await upload(index)));
    const publishing = publish().catch(() => undefined); // cut off by the kill
    const results = await uploads;
    isUploading = false;
    await publishing;
    for (const result of results) {
      if (result.status === "rejected")
        assert.ok(!(result.reason instanceof assert.AssertionError), String(result.reason));
    }
    child.kill("SIGKILL"); // should no answer have brought it so far
    await ended;
  }
  assert.ok(acknowledged.length > roundsCount * 2);
});

async function readLog(url: string, authorization: string): Promise<{ originId: string; seqs: number[] }> {
  const leaving = new AbortController();
  const answer = await fetch(`${url}/api/v1/feed?since=0`, { headers: { authorization }, signal: leaving.signal });
  const read = createEventStreamReader();
  const seqs: number[] = [];
  let hello: { originId: string; latestSeq: number } | undefined;
  for await (const bytes of answer.body ?? []) {
    for (const event of read(Buffer.from(bytes))) {
      if (event.event === "hello") hello = JSON.parse(event.data) as typeof hello;
      else seqs.push(Number(event.id));
    }
    if (hello !== undefined && (seqs.at(-1) ?? 0) >= hello.latestSeq) break;
  }
  leaving.abort();
  assert.ok(hello !== undefined);
  return { originId: hello.originId, seqs };
}

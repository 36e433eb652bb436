/** Damaged and missing blobs: found by name and version, replaced by an upload of the same bytes, and left in peace. */
import assert from "node:assert/strict";
import { readFile, rm, truncate, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import sharp from "sharp";
import { fakeClock } from "../support/fake-clock.ts";
import { openVerifier } from "../../origin/store/verify-blobs.ts";
import { nearcast } from "../deploy/support/command.ts";
import { jpeg, startTestOrigin, type Scope, type TestOrigin } from "./running-origin.ts";

const scopeOf = (t: TestContext): Scope => ({ after: (cleanUp) => t.after(cleanUp) });

interface Verified {
  checked: { count: number; sizeBytes: number };
  faults: { sha256: string; fault: string; detail: string; uses: object[] }[];
  cursor?: string;
}

async function verify(origin: TestOrigin): Promise<{ status: number; value: Verified; text: string }> {
  const where = ["--origin", origin.url, "--token-file", origin.tokenFiles.writer];
  const [asJson, asText] = [await nearcast(["verify", "--json", ...where]), await nearcast(["verify", ...where])];
  assert.equal(asJson.status, asText.status, asJson.stderr + asText.stderr);
  return { status: asJson.status, value: asJson.json() as Verified, text: asText.stdout };
}

async function store(origin: TestOrigin, name: string, body: Buffer): Promise<{ sha256: string; path: string }> {
  const { sha256 } = await origin.json<{ sha256: string }>(201, "PUT", `/images/${name}`, { body });
  return { sha256, path: join(origin.dataDir, "blobs", sha256.slice(0, 2), sha256) };
}

test("a flipped byte, a truncated and a deleted blob are named; an upload of the good bytes mends each", async (t) => {
  const origin = await startTestOrigin(scopeOf(t));
  const pictures = { "flipped.jpg": await jpeg(1), "short.jpg": await jpeg(2), "gone.jpg": await jpeg(3) };
  await store(origin, "good.jpg", await jpeg(4));
  const flipped = await store(origin, "flipped.jpg", pictures["flipped.jpg"]);
  const short = await store(origin, "short.jpg", pictures["short.jpg"]);
  const gone = await store(origin, "gone.jpg", pictures["gone.jpg"]);
  // A second name, and one that means something else by now.
  await origin.json(201, "PUT", "/images/also.jpg", { body: pictures["flipped.jpg"] });
  await origin.json(200, "PUT", "/images/also.jpg", { body: await jpeg(4) });

  const clean = await verify(origin);
  assert.deepEqual([clean.status, clean.value.checked.count, clean.value.faults], [0, 4, []]);
  assert.match(clean.text, /4 stored pictures .* all are intact/);

  const bytes = await readFile(flipped.path);
  bytes[bytes.length - 30] = (bytes.at(-30) ?? 0) ^ 1;
  await writeFile(flipped.path, bytes);
  await truncate(short.path, 100);
  await rm(gone.path);

  const found = await verify(origin);
  assert.equal(found.status, 1);
  assert.deepEqual(
    found.value.faults.toSorted((a, b) => (a.detail < b.detail ? -1 : 1)),
    [
      {
        sha256: gone.sha256,
        fault: "missing",
        detail: "it is missing",
        uses: [{ name: "gone.jpg", version: 1, isCurrent: true }],
      },
      {
        sha256: short.sha256,
        fault: "damaged",
        detail: `it should have ${pictures["short.jpg"].length} bytes (got 100)`,
        uses: [{ name: "short.jpg", version: 1, isCurrent: true }],
      },
      {
        sha256: flipped.sha256,
        fault: "damaged",
        detail: "its hash differs",
        uses: [
          { name: "flipped.jpg", version: 1, isCurrent: true },
          { name: "also.jpg", version: 1, isCurrent: false },
        ],
      },
    ],
  );
  assert.match(found.text, /also\.jpg, version 1\n/);

  for (const [name, body] of Object.entries(pictures)) {
    const put = await origin.json(200, "PUT", `/images/${name}`, { body });
    assert.deepEqual([put["repaired"], put["unchanged"], put["version"]], [true, true, 1], name);
    const answer = await origin.call("GET", `/images/${name}`);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), body, name);
    assert.equal((await origin.json(200, "PUT", `/images/${name}`, { body }))["repaired"], false, name);
  }
  assert.equal((await verify(origin)).status, 0);
  const { entries } = await origin.json<{ entries: { targets: string[]; facts: object }[] }>(
    200,
    "GET",
    "/audit?kind=repair",
  );
  assert.deepEqual(
    entries.map(({ targets }) => targets),
    [["gone.jpg"], ["short.jpg"], ["flipped.jpg"]],
  );
});

test("a verification goes on from its cursor, and what was pruned meanwhile is no fault", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { keep: { versionsPerName: 1 } } });
  for (let mark = 0; mark < 5; mark += 1) await store(origin, `${mark}.jpg`, await jpeg(mark));
  const old = await store(origin, "old.jpg", await jpeg(9));
  await origin.json(200, "PUT", "/images/old.jpg", { body: await jpeg(10) });
  await rm(old.path);
  const all = await origin.json<Verified & { totals: object }>(200, "GET", "/verifications?totals=true");
  assert.deepEqual([all.checked.count, all.faults, all.cursor], [6, [], undefined]);
  assert.deepEqual(all.totals, all.checked);
  const after = "8".padEnd(64, "0");
  const rest = await origin.json<Verified & { totals: object }>(
    200,
    "GET",
    `/verifications?totals=true&after=${after}`,
  );
  assert.ok(rest.checked.count < 6);
  assert.deepEqual(rest.totals, rest.checked);
  assert.equal((await origin.call("GET", "/verifications?after=x")).status, 400);
});

test("one step runs at a time, paced by the bytes of the one before, and it can be cancelled", async () => {
  const clock = fakeClock();
  const blobs = [{ sha256: "a".repeat(64), sizeBytes: 30_000_000 }];
  let reads = 0;
  const verifier = openVerifier({
    // The one part that reads, and here only counts: what is tested is the pace.
    store: {
      verify: async () => {
        reads += 1;
        return { outcome: "good" };
      },
    },
    catalogue: { blobsAfter: async () => blobs, usesOfBlob: async () => [] },
    clock,
    bytesPerSecond: 10_000_000,
  });
  const { signal } = new AbortController();
  await verifier.step("", signal);
  const second = verifier.step("", signal);
  await assert.rejects(verifier.step("", signal), /another verification is running/);
  clock.advance(2999);
  await Promise.resolve();
  assert.equal(reads, 1);
  clock.advance(1);
  await second;
  assert.equal(reads, 2);
  const stop = new AbortController();
  const third = verifier.step("", stop.signal);
  stop.abort(new Error("gone"));
  await assert.rejects(third, /gone/);
  clock.advance(3000);
  await verifier.step("", signal);
});

test("at the slowest pace no step keeps its client waiting longer than its deadline", async () => {
  const clock = fakeClock();
  // A disk that is much faster than the pace: 1,000 pictures of 6 MB, and one of the largest size.
  const sizes = Array.from({ length: 1000 }, (_, index) => (index === 500 ? 104_857_600 : 6_000_000));
  const blobs = sizes.map((sizeBytes, index) => ({ sha256: index.toString(16).padStart(64, "0"), sizeBytes }));
  const verifier = openVerifier({
    store: {
      verify: async () => {
        clock.advance(1);
        return { outcome: "good" };
      },
    },
    catalogue: {
      blobsAfter: async (after) => blobs.filter(({ sha256 }) => sha256 > after),
      usesOfBlob: async () => [],
    },
    clock,
    bytesPerSecond: 10_000_000,
  });
  const { signal } = new AbortController();
  let cursor: string | undefined = "";
  let checkedBytes = 0;
  let longestMs = 0;
  while (cursor !== undefined) {
    const beganMs = clock.monotonicMs();
    const step = verifier.step(cursor, signal);
    const over = new AbortController();
    void step.finally(() => {
      over.abort();
    });
    while (!over.signal.aborted) {
      await new Promise(setImmediate);
      if (!over.signal.aborted) clock.advance(100);
    }
    longestMs = Math.max(longestMs, clock.monotonicMs() - beganMs);
    const { checked, cursor: next } = await step;
    checkedBytes += checked.sizeBytes;
    cursor = next;
  }
  assert.equal(
    checkedBytes,
    sizes.reduce((sum, size) => sum + size, 0),
  );
  assert.ok(longestMs < 12_000, `a step took ${longestMs} ms`);
});

test("a verification that fails on its way says what it found and how to go on", async (t) => {
  const origin = await startTestOrigin(scopeOf(t), { config: { limits: { verifyBytesPerSecond: 10_000_000 } } });
  const hashes: string[] = [];
  for (const seed of [1, 2]) hashes.push((await store(origin, `${seed}.png`, await uncompressed(seed))).sha256);
  const [first = ""] = hashes.toSorted();
  const wire = await breakingWire(t, origin.port);
  const ran = await nearcast(["verify", "--origin", wire.url, "--token-file", origin.tokenFiles.writer]);
  assert.equal(ran.status, 3, ran.stderr);
  assert.match(ran.stderr, /checked 1 stored picture \(12 MB\): all are intact/);
  assert.match(ran.stderr, new RegExp(`To resume: .*nearcast verify --after ${first}\n`));
});

/** A PNG of 12 MB: two of them are more than one step reads at the slowest pace. */
async function uncompressed(seed: number): Promise<Buffer> {
  const raw = Buffer.alloc(2000 * 2000 * 3, seed);
  return await sharp(raw, { raw: { width: 2000, height: 2000, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toBuffer();
}

/** Passes bytes on to the origin, until a second verification is asked for: then the line is cut. */
async function breakingWire(t: TestContext, port: number): Promise<{ url: string }> {
  const sockets = new Set<Socket>();
  let steps = 0;
  const server = createServer((client) => {
    const there = connect(port, "127.0.0.1");
    for (const socket of [client, there]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => (client.destroy(), there.destroy()));
    }
    client.on("data", (bytes) => {
      if (bytes.includes("/verifications")) steps += 1;
      if (steps === 2) client.destroy();
      else there.write(bytes);
    });
    there.pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

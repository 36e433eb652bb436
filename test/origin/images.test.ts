/** Storing, reading, versions, rollback, deletion and listing, over real HTTP. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import sharp from "sharp";
import { jpeg, startTestOrigin, wholeFile } from "./running-origin.ts";

const origin = await startTestOrigin(wholeFile, { config: { keep: { versionsPerName: 5 } } });

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

async function blobCount(): Promise<number> {
  const entries = await readdir(join(origin.dataDir, "blobs"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}

test("an upload is answered with what it is, and read back byte for byte", async () => {
  const bytes = await jpeg(1);
  const stored = await origin.json(201, "PUT", "/images/shop/chair.jpg", {
    body: bytes,
    headers: { "nearcast-author": "Zo%C3%AB", "content-type": "image/jpeg" },
  });
  const { createdAt, ...rest } = stored;
  assert.match(String(createdAt), /^\d{4}-.*Z$/);
  assert.deepEqual(rest, {
    name: "shop/chair.jpg",
    version: 1,
    sha256: sha256(bytes),
    sizeBytes: bytes.length,
    type: "jpeg",
    width: 40,
    height: 30,
    frames: 1,
    hasAlpha: false,
    scans: 1,
    author: "Zoë",
    deduplicated: false,
    unchanged: false,
    repaired: false,
  });
  const answer = await origin.call("GET", "/images/shop/chair.jpg", { token: origin.tokens.edge });
  assert.equal(answer.status, 200);
  assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes);
  const header = (name: string): string | null => answer.headers.get(name);
  assert.equal(header("etag"), `"${sha256(bytes)}"`);
  assert.equal(header("content-type"), "image/jpeg");
  assert.equal(header("content-length"), String(bytes.length));
  assert.equal(header("nearcast-version"), "1");
  assert.equal(header("nearcast-width"), "40");
  assert.equal(header("nearcast-height"), "30");
  assert.equal(header("nearcast-frames"), "1");
  assert.equal(header("nearcast-alpha"), "0");
  assert.equal(header("nearcast-type"), "jpeg");
  assert.equal(header("nearcast-scans"), "1");
  assert.ok(Date.parse(header("last-modified") ?? "") > 0);
  assert.match(header("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
});

test("all five types are taken, whatever the name and Content-Type say", async () => {
  const blank = (channels: 3 | 4) => sharp({ create: { width: 9, height: 7, channels, background: "#8040" } });
  const table = {
    jpeg: await blank(3).jpeg().toBuffer(),
    png: await blank(4).png().toBuffer(),
    webp: await blank(4).webp().toBuffer(),
    gif: await blank(3).gif().toBuffer(),
    avif: await blank(3).avif().toBuffer(),
  };
  for (const [type, body] of Object.entries(table)) {
    const stored = await origin.json(201, "PUT", `/images/types/${type}`, {
      body,
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
    assert.equal(stored["type"], type);
    assert.equal(stored["width"], 9, type);
    const answer = await origin.call("HEAD", `/images/types/${type}`);
    assert.equal(answer.headers.get("content-type"), `image/${type}`);
  }
});

test("the same bytes under two names are one blob, and again under one name are no new version", async () => {
  const bytes = await jpeg(2);
  const before = await blobCount();
  const first = await origin.json(201, "PUT", "/images/twice/a.jpg", { body: bytes });
  const second = await origin.json(201, "PUT", "/images/twice/b.jpg", { body: bytes });
  const again = await origin.json(200, "PUT", "/images/twice/a.jpg", { body: bytes });
  assert.deepEqual([first["deduplicated"], second["deduplicated"], again["deduplicated"]], [false, true, true]);
  assert.deepEqual([again["version"], again["unchanged"]], [1, true]);
  assert.equal((await blobCount()) - before, 1);
});

test("concurrent uploads of the same bytes are one blob, and each is answered", async () => {
  const bytes = await jpeg(3);
  const before = await blobCount();
  const answers = await Promise.all(
    Array.from(
      { length: 12 },
      async (_, index) => await origin.json(201, "PUT", `/images/flock/${index}.jpg`, { body: bytes }),
    ),
  );
  assert.equal(new Set(answers.map((answer) => answer["sha256"])).size, 1);
  assert.equal((await blobCount()) - before, 1);
});

test("concurrent uploads to one name get versions 1 to n, each once", async () => {
  const bodies = await Promise.all(Array.from({ length: 5 }, async (_, index) => await jpeg(100 + index)));
  const answers = await Promise.all(
    bodies.map(async (body) => {
      const answer = await origin.call("PUT", "/images/race.jpg", { body });
      return (await answer.json()) as { version: number; sha256: string };
    }),
  );
  assert.deepEqual(
    answers.map((answer) => answer.version).toSorted((one, other) => one - other),
    [1, 2, 3, 4, 5],
  );
  for (const { version, sha256: digest } of answers) {
    const answer = await origin.call("GET", `/images/race.jpg?version=${version}`);
    assert.equal(sha256(Buffer.from(await answer.arrayBuffer())), digest);
  }
});

test("HEAD, If-None-Match and single ranges answer as RFC 9110 says", async () => {
  const bytes = await jpeg(4);
  const etag = `"${sha256(bytes)}"`;
  await origin.json(201, "PUT", "/images/range.jpg", { body: bytes });
  const size = bytes.length;
  const table: [Record<string, string>, number, Buffer | null, string | null][] = [
    [{ range: "bytes=0-9" }, 206, bytes.subarray(0, 10), `bytes 0-9/${size}`],
    [{ range: `bytes=${size - 5}-` }, 206, bytes.subarray(-5), `bytes ${size - 5}-${size - 1}/${size}`],
    [{ range: "bytes=-7" }, 206, bytes.subarray(-7), `bytes ${size - 7}-${size - 1}/${size}`],
    [{ range: `bytes=5-${size * 2}` }, 206, bytes.subarray(5), `bytes 5-${size - 1}/${size}`],
    [{ range: "bytes=0-9", "if-range": etag }, 206, bytes.subarray(0, 10), `bytes 0-9/${size}`],
    [{ range: "bytes=0-9", "if-range": `"other"` }, 200, bytes, null],
    [{ range: "bytes=0-1,3-4" }, 200, bytes, null],
    [{ range: "lines=1-2" }, 200, bytes, null],
    [{ range: "bytes=9-3" }, 200, bytes, null],
    [{ range: `bytes=${size}-` }, 416, null, `bytes */${size}`],
    [{ range: "bytes=-0" }, 416, null, `bytes */${size}`],
    [{ "if-none-match": etag }, 304, Buffer.alloc(0), null],
    [{ "if-none-match": `"x", W/${etag}` }, 304, Buffer.alloc(0), null],
    [{ "if-none-match": "*" }, 304, Buffer.alloc(0), null],
    [{ "if-none-match": `"x"` }, 200, bytes, null],
  ];
  for (const [headers, status, body, contentRange] of table) {
    const row = JSON.stringify(headers);
    const answer = await origin.call("GET", "/images/range.jpg", { headers });
    const received = Buffer.from(await answer.arrayBuffer());
    assert.equal(answer.status, status, row);
    assert.equal(answer.headers.get("content-range"), contentRange, row);
    if (body !== null) assert.deepEqual(received, body, row);
    if (status !== 416) assert.equal(answer.headers.get("etag"), etag, row);
  }
  const head = await origin.call("HEAD", "/images/range.jpg");
  assert.equal(head.headers.get("content-length"), String(size));
  assert.equal((await head.arrayBuffer()).byteLength, 0);
});

test("versions count on through replacement, deletion and rollback, and each can be read", async () => {
  const [one, two] = [await jpeg(5), await jpeg(6)];
  const path = "/images/history.jpg";
  await origin.json(201, "PUT", path, { body: one });
  assert.equal((await origin.json(200, "PUT", path, { body: two }))["version"], 2);
  const back = await origin.json(200, "POST", "/rollbacks", rollback("history.jpg"));
  assert.deepEqual([back["version"], back["fromVersion"], back["sha256"]], [3, 1, sha256(one)]);
  assert.equal((await origin.json(200, "DELETE", path))["version"], 4);

  const gone = await origin.call("GET", path);
  assert.equal(gone.status, 410);
  assert.equal(((await gone.json()) as { code: string }).code, "GONE");
  assert.equal((await origin.call("DELETE", path)).status, 410);

  const again = await origin.json(200, "POST", "/rollbacks", rollback("history.jpg"));
  assert.deepEqual([again["version"], again["fromVersion"]], [5, 3]);
  const { versions } = await origin.json<{ versions: Record<string, unknown>[] }>(200, "GET", "/versions/history.jpg");
  assert.deepEqual(
    versions.map((each) => [each["version"], each["reason"], each["fromVersion"], each["sha256"]]),
    [
      [5, "rollback", 3, sha256(one)],
      [4, "delete", undefined, undefined],
      [3, "rollback", 1, sha256(one)],
      [2, "put", undefined, sha256(two)],
      [1, "put", undefined, sha256(one)],
    ],
  );
  for (const [version, bytes] of [
    [1, one],
    [2, two],
    [5, one],
  ] as const) {
    const answer = await origin.call("GET", `${path}?version=${version}`);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes, `version ${version}`);
  }
  assert.equal((await origin.call("GET", `${path}?version=4`)).status, 410);
  assert.equal((await origin.call("GET", `${path}?version=99`)).status, 404);

  // Five are kept: the sixth drops the first, and its number never comes back.
  await origin.json(200, "PUT", path, { body: await jpeg(7) });
  assert.equal((await origin.call("GET", `${path}?version=1`)).status, 404);
  assert.equal((await origin.call("POST", "/rollbacks", rollback("history.jpg", 1))).status, 404);
});

test("a rollback names what it can't do", async () => {
  await origin.json(201, "PUT", "/images/lone.jpg", { body: await jpeg(8) });
  const table: [string, number | undefined, number, string][] = [
    ["nobody.jpg", undefined, 404, "NOT_FOUND"],
    ["lone.jpg", undefined, 404, "NOT_FOUND"],
    ["lone.jpg", 7, 404, "NOT_FOUND"],
    ["../lone.jpg", undefined, 400, "BAD_PATH"],
  ];
  for (const [name, version, status, code] of table) {
    const problem = await origin.json(status, "POST", "/rollbacks", rollback(name, version));
    assert.equal(problem["code"], code, name);
  }
  const same = await origin.json(200, "POST", "/rollbacks", rollback("lone.jpg", 1));
  assert.deepEqual([same["version"], same["unchanged"]], [1, true]);
  await origin.json(200, "DELETE", "/images/lone.jpg");
  assert.equal((await origin.json(409, "POST", "/rollbacks", rollback("lone.jpg", 2)))["code"], "CONFLICT");
});

test("preconditions hold a write back", async () => {
  const [one, two] = [await jpeg(9), await jpeg(10)];
  const path = "/images/guarded.jpg";
  const attempt = async (body: Buffer, headers: Record<string, string>): Promise<number> => {
    const answer = await origin.call("PUT", path, { body, headers });
    await answer.arrayBuffer();
    return answer.status;
  };
  assert.equal(await attempt(one, { "if-match": "*" }), 412);
  assert.equal(await attempt(one, { "if-none-match": "*" }), 201);
  assert.equal(await attempt(two, { "if-none-match": "*" }), 412);
  assert.equal(await attempt(two, { "if-match": `"${sha256(two)}"` }), 412);
  assert.equal(await attempt(two, { "if-match": `W/"${sha256(one)}"` }), 412);
  assert.equal(await attempt(two, { "if-match": `"x", "${sha256(one)}"` }), 200);
  assert.equal(await attempt(two, { "if-match": "nonsense" }), 400);
  assert.equal(await attempt(two, { "if-none-match": `"x"` }), 400);
  assert.equal((await origin.call("DELETE", path, { headers: { "if-match": `"${sha256(one)}"` } })).status, 412);
  assert.equal((await origin.call("DELETE", path, { headers: { "if-match": `"${sha256(two)}"` } })).status, 200);
  assert.equal(await attempt(one, { "if-none-match": "*" }), 201);
});

test("a list walks the names of a prefix in order, page by page, without the deleted", async () => {
  const body = await jpeg(11);
  const names = ["list/a.jpg", "list/b/1.jpg", "list/b/2.jpg", "list/ä.jpg", "list/中.jpg", "listing.jpg"];
  for (const name of [...names, "list/gone.jpg"]) await origin.json(201, "PUT", `/images/${encodeURI(name)}`, { body });
  await origin.json(200, "DELETE", "/images/list/gone.jpg");
  const seen: string[] = [];
  let pages = 0;
  for (let cursor: string | undefined = ""; cursor !== undefined; pages += 1) {
    const query = new URLSearchParams({ prefix: "list/", limit: "2", ...(cursor === "" ? {} : { cursor }) });
    const page: { images: { name: string; version: number }[]; cursor?: string } = await origin.json(
      200,
      "GET",
      `/images?${query.toString()}`,
    );
    seen.push(...page.images.map((image) => image.name));
    cursor = page.cursor;
  }
  assert.deepEqual(seen, names.slice(0, 5));
  assert.equal(pages, 3);
  const all = await origin.json<{ images: { name: string }[] }>(200, "GET", "/images?prefix=list&limit=1000");
  assert.deepEqual(
    all.images.map((image) => image.name),
    names,
  );
  for (const query of ["limit=0", "limit=1001", "limit=x", "limit=", "cursor=!!", "cursor=Li4", "colour=red"]) {
    const problem = await origin.json(400, "GET", `/images?${query}`);
    assert.equal(problem["code"], "BAD_PARAMETER", query);
  }
});

function rollback(name: string, version?: number): { body: string; headers: Record<string, string> } {
  return {
    body: JSON.stringify({ name, ...(version === undefined ? {} : { version }) }),
    headers: { "content-type": "application/json" },
  };
}

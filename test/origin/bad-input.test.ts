/** Bad input: each a clear refusal with its code, nothing stored, and the origin as well as before. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { before, test } from "node:test";
import { deflateSync, crc32 } from "node:zlib";
import { fakeClock } from "../support/fake-clock.ts";
import { codeOf, fleetExample, jpeg, raw, startTestOrigin, statusOf, wholeFile } from "./running-origin.ts";

const origin = await startTestOrigin(wholeFile);
const { port } = origin;
const authorization = `Authorization: Bearer ${origin.tokens.writer}`;

before(async () => {
  await origin.json(201, "PUT", "/images/good.jpg", { body: await jpeg(1) });
});

/** A PNG of one colour, as large as its header says, in a few kilobytes. */
function pngBomb(width: number, height: number): Buffer {
  const chunk = (type: string, content: Buffer): Buffer => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), content]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, checksum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([1, 0, 0, 0, 0], 8);
  const rows = Buffer.alloc(height * (Math.ceil(width / 8) + 1));
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

test("bytes that are no good picture are refused with the reason", async () => {
  const good = await jpeg(2, 600, 400);
  const table: [string, Buffer, number, string][] = [
    [
      "text named .jpg",
      Buffer.from("this is not a picture at all, however long it may go on ".repeat(9)),
      415,
      "UNSUPPORTED_IMAGE",
    ],
    ["a few bytes of text", Buffer.from("GIF8"), 415, "UNSUPPORTED_IMAGE"],
    ["nothing", Buffer.alloc(0), 415, "UNSUPPORTED_IMAGE"],
    [
      "SVG",
      Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>`.padEnd(80)),
      415,
      "UNSUPPORTED_IMAGE",
    ],
    ["truncated JPEG", good.subarray(0, good.length / 2), 422, "BROKEN_IMAGE"],
    ["JPEG of only a head", good.subarray(0, 20), 422, "BROKEN_IMAGE"],
    ["20,000 × 20,000 PNG bomb", pngBomb(20_000, 20_000), 422, "TOO_MANY_PIXELS"],
  ];
  for (const [row, body, status, code] of table) {
    const answer = await origin.call("PUT", "/images/bad.jpg", { body, headers: { "content-type": "image/jpeg" } });
    const problem = (await answer.json()) as Record<string, unknown>;
    assert.deepEqual([answer.status, problem["code"]], [status, code], row);
    assert.equal(answer.headers.get("content-type"), "application/problem+json", row);
    assert.equal(problem["requestId"], answer.headers.get("x-request-id"), row);
    assert.equal(problem["status"], status, row);
    assert.equal(typeof problem["detail"], "string", row);
  }
});

test("names that a parser somewhere could read otherwise are refused, raw from the socket", async () => {
  const table: [string, number, string][] = [
    ["/images/../fleet", 400, "BAD_PATH"],
    ["/images/a/../b.jpg", 400, "BAD_PATH"],
    ["/images/a/./b.jpg", 400, "BAD_PATH"],
    ["/images/%2e%2e/b.jpg", 400, "BAD_PATH"],
    ["/images/a/%2E%2e", 400, "BAD_PATH"],
    ["/images/a/.%2e/b.jpg", 400, "BAD_PATH"],
    ["/images/a%2fb.jpg", 400, "BAD_PATH"],
    ["/images/..%2f..%2fetc%2fpasswd", 400, "BAD_PATH"],
    ["/images/a%5cb.jpg", 400, "BAD_PATH"],
    ["/images/a\\..\\b.jpg", 400, "BAD_PATH"],
    ["/images/a%00.jpg", 400, "BAD_PATH"],
    ["/images/a%0d%0ab.jpg", 400, "BAD_PATH"],
    ["/images/a%e2%80%aegpj.exe", 400, "BAD_PATH"],
    ["/images/%ff%fe.jpg", 400, "BAD_PATH"],
    ["/images/%c0%ae%c0%ae/b.jpg", 400, "BAD_PATH"],
    ["/images/%zz.jpg", 400, "BAD_PATH"],
    ["/images/%", 400, "BAD_PATH"],
    ["/images/", 400, "BAD_PATH"],
    ["/images//a.jpg", 400, "BAD_PATH"],
    ["/images/a//b.jpg", 400, "BAD_PATH"],
    ["/images/a.jpg/", 400, "BAD_PATH"],
    [`/images/${"a".repeat(501)}`, 400, "BAD_PATH"],
    [`/images/${"a".repeat(65_536)}`, 414, "URI_TOO_LONG"],
    [`/images/a.jpg?${"q=".repeat(32_768)}`, 414, "URI_TOO_LONG"],
    [`/images/${"a".repeat(131_072)}`, 431, "HEADERS_TOO_LARGE"],
  ];
  for (const method of ["GET", "PUT", "DELETE"]) {
    for (const [path, status, code] of table) {
      const answer = await raw(
        port,
        `${method} /api/v1${path} HTTP/1.1\r\nHost: x\r\n${authorization}\r\n` +
          "Connection: close\r\nContent-Length: 0\r\n\r\n",
      );
      const row = `${method} ${path.slice(0, 60)}`;
      assert.deepEqual([statusOf(answer), codeOf(answer)], [status, code], `${row}: ${answer.slice(0, 200)}`);
    }
  }
});

test("requests that are hardly HTTP get one short answer", async () => {
  const head = `Host: x\r\n${authorization}\r\nConnection: close\r\n`;
  const table: [string, number, string][] = [
    ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "BAD_REQUEST"],
    ["GET\r\n\r\n", 400, "BAD_REQUEST"],
    [`BREW /api/v1/images/a.jpg HTTP/1.1\r\n${head}\r\n`, 501, "NOT_IMPLEMENTED"],
    [`GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n`, 400, "BAD_REQUEST"],
    [
      `PUT /api/v1/images/a.jpg HTTP/1.1\r\n${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
      "BAD_REQUEST",
    ],
    [`PUT /api/v1/images/a.jpg HTTP/1.1\r\n${head}Content-Length: -1\r\n\r\n`, 400, "BAD_REQUEST"],
    [`GET /healthz HTTP/1.1\r\n${head}X: ${"y".repeat(200_000)}\r\n\r\n`, 431, "HEADERS_TOO_LARGE"],
  ];
  for (const [bytes, status, code] of table) {
    const answer = await raw(port, Buffer.from(bytes, "latin1"));
    const row = JSON.stringify(bytes.slice(0, 60));
    // A server may also just hang up on what has no Host; it must not answer 2xx.
    assert.equal(statusOf(answer), status, `${row}: ${answer.slice(0, 200)}`);
    if (answer.includes("problem+json")) assert.equal(codeOf(answer), code, row);
  }
});

test("wrong methods say which ones are right, wrong paths are not there", async () => {
  const table: [string, string, number, string, string | null][] = [
    ["POST", "/images/a.jpg", 405, "METHOD_NOT_ALLOWED", "DELETE, GET, HEAD, PUT"],
    ["PATCH", "/images/a.jpg", 405, "METHOD_NOT_ALLOWED", "DELETE, GET, HEAD, PUT"],
    ["OPTIONS", "/images/a.jpg", 405, "METHOD_NOT_ALLOWED", "DELETE, GET, HEAD, PUT"],
    ["DELETE", "/fleet", 405, "METHOD_NOT_ALLOWED", "GET, HEAD, PUT"],
    ["PUT", "/feed", 405, "METHOD_NOT_ALLOWED", "GET, HEAD"],
    ["GET", "/purges", 405, "METHOD_NOT_ALLOWED", "POST"],
    ["GET", "/nodes/fra1", 405, "METHOD_NOT_ALLOWED", "DELETE"],
    ["POST", "/nodes/fra1/draining", 405, "METHOD_NOT_ALLOWED", "DELETE, PUT"],
    ["GET", "/nothing", 404, "NOT_FOUND", null],
    ["GET", "/imagesque/a.jpg", 404, "NOT_FOUND", null],
  ];
  for (const [method, path, status, code, allow] of table) {
    const answer = await origin.call(method, path);
    const row = `${method} ${path}`;
    assert.equal(answer.status, status, row);
    assert.equal(answer.headers.get("allow"), allow, row);
    if (method !== "HEAD") assert.equal(((await answer.json()) as { code: string }).code, code, row);
  }
});

test("JSON bodies are checked strictly, and every problem is named", async () => {
  const json = { "content-type": "application/json" };
  const table: [string, string, Record<string, string>, number, string, RegExp][] = [
    ["/purges", "{}", json, 400, "BAD_PARAMETER", /select something: names, prefix, hosts, tags, all/],
    ["/purges", `{"all":false}`, json, 400, "BAD_REQUEST", /all/],
    ["/purges", `{"names":["../x"]}`, json, 400, "BAD_PATH", /names\[0\]/],
    ["/purges", `{"names":"a","colour":1}`, json, 400, "BAD_REQUEST", /colour: is not known/],
    [
      "/purges",
      `{"names":${JSON.stringify(Array.from({ length: 1001 }, () => "a"))}}`,
      json,
      400,
      "BAD_REQUEST",
      /1000/,
    ],
    ["/purges", `{"tags":["with space"]}`, json, 400, "BAD_REQUEST", /tags/],
    ["/purges", `{"hosts":["${"\u0130".repeat(253)}"]}`, json, 400, "BAD_REQUEST", /hosts/],
    ["/purges", `{"names":["${"a".repeat(300_000)}"]}`, json, 413, "BODY_TOO_LARGE", /./],
    ["/purges", `{"names":${"[".repeat(65)}${"]".repeat(65)}}`, json, 400, "BAD_REQUEST", /deeper than 64 levels/],
    ["/nodes", `${'{"a":'.repeat(200)}1${"}".repeat(200)}`, json, 400, "BAD_REQUEST", /deeper than 64 levels/],
    ["/purges", `{"names":`, json, 400, "BAD_REQUEST", /JSON/],
    ["/purges", `{"__proto__":{"all":true}}`, json, 400, "BAD_REQUEST", /./],
    ["/purges", `all=true`, { "content-type": "application/x-www-form-urlencoded" }, 400, "BAD_REQUEST", /./],
    ["/rollbacks", `{"name":"good.jpg","version":"1"}`, json, 400, "BAD_REQUEST", /version/],
    ["/rollbacks", `{"name":"good.jpg","version":0}`, json, 400, "BAD_REQUEST", /version/],
    ["/rollbacks", `[]`, json, 400, "BAD_REQUEST", /object/],
  ];
  for (const [path, body, headers, status, code, detail] of table) {
    const problem = await origin.json(status, "POST", path, { body, headers });
    const row = `${path} ${body.slice(0, 60)}`;
    assert.equal(problem["code"], code, row);
    assert.match(String(problem["detail"]), detail, row);
  }
});

test("headers of an upload that can't be honoured are refused, not ignored", async () => {
  const body = await jpeg(3);
  const table: [Record<string, string>, number, string][] = [
    [{ "content-encoding": "gzip" }, 415, "UNSUPPORTED_IMAGE"],
    [{ "content-range": "bytes 0-9/100" }, 400, "BAD_REQUEST"],
    [{ "nearcast-author": "x".repeat(101) }, 400, "BAD_PARAMETER"],
    [{ "nearcast-author": "%" }, 400, "BAD_PARAMETER"],
    [{ "nearcast-author": "%0A" }, 400, "BAD_PARAMETER"],
    [{ "if-match": "*", "if-none-match": "*" }, 400, "BAD_PARAMETER"],
  ];
  for (const [headers, status, code] of table) {
    const problem = await origin.json(status, "PUT", "/images/bad.jpg", { body, headers });
    assert.equal(problem["code"], code, JSON.stringify(headers));
  }
});

test("limits of the fleet document hold for uploads: announced, streamed, and in pixels", async (t) => {
  const limited = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  await limited.json(201, "PUT", "/fleet", {
    body: fleetExample(["fra"], "limits: { sourceBytesMax: 5000, sourcePixelsMax: 20000 }"),
  });
  const tooMany = await limited.json(422, "PUT", "/images/wide.jpg", { body: await jpeg(4, 200, 101) });
  assert.equal(tooMany["code"], "TOO_MANY_PIXELS");
  await limited.json(201, "PUT", "/images/fits.jpg", { body: await jpeg(4, 200, 100) });

  const large = Buffer.concat([await jpeg(5), Buffer.alloc(200_000)]);
  const announced = await limited.json(413, "PUT", "/images/large.jpg", { body: large });
  assert.deepEqual([announced["code"], announced["limitBytes"]], ["BODY_TOO_LARGE", 5000]);

  // Without Content-Length the limit is met on the way, and the client still gets the answer, not a reset.
  const streamed = await fetch(`${limited.url}/api/v1/images/large.jpg`, {
    method: "PUT",
    headers: { authorization: `Bearer ${limited.tokens.writer}` },
    body: ReadableStream.from([large.subarray(0, 4000), large.subarray(4000)]),
    duplex: "half",
  });
  assert.equal(streamed.status, 413);
  assert.equal(((await streamed.json()) as { code: string }).code, "BODY_TOO_LARGE");
  assert.deepEqual(await readdir(join(limited.dataDir, "incoming")), []);
});

test("a client that asks first (Expect: 100-continue) is refused before it sends its body", async () => {
  const head = (extra: string) =>
    `PUT /api/v1/images/first.jpg HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n${extra}\r\n`;
  const refused = await raw(port, head(`${authorization}\r\nContent-Length: 999999999999\r\n`));
  assert.deepEqual([statusOf(refused), codeOf(refused)], [413, "BODY_TOO_LARGE"]);
  assert.equal(statusOf(await raw(port, head("Content-Length: 5\r\n"))), 401);
  const asked = await raw(port, head(`${authorization}\r\nContent-Length: 5\r\n`), (text) => text.includes("\r\n\r\n"));
  assert.equal(statusOf(asked), 100);
});

test("an upload that falls silent is cut, with nothing left of it", async (t) => {
  const clock = fakeClock();
  const stalled = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) }, { clock });
  const body = await jpeg(6);
  const head =
    `PUT /api/v1/images/slow.jpg HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${stalled.tokens.writer}\r\n` +
    `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`;
  let isReading = false;
  let isOver = false;
  const letPass = (): void => {
    clock.advance(31_000);
    if (!isOver) setImmediate(letPass);
  };
  const answer = await raw(stalled.port, Buffer.concat([Buffer.from(head), body.subarray(0, 100)]), (text) => {
    // The origin reads the body now: let the silence pass.
    if (text.includes("100 Continue") && !isReading) {
      isReading = true;
      letPass();
    }
    return false;
  });
  isOver = true;
  const final = answer.slice(answer.indexOf("\r\n\r\n") + 4);
  assert.deepEqual([statusOf(final), codeOf(final)], [408, "REQUEST_TIMEOUT"]);
  assert.match(final, /connection: close/i);
  assert.deepEqual(await readdir(join(stalled.dataDir, "incoming")), []);
});

test("an upload that is cut off by its client leaves nothing", async () => {
  const body = await jpeg(7);
  await raw(
    port,
    Buffer.concat([
      Buffer.from(
        `PUT /api/v1/images/cut.jpg HTTP/1.1\r\nHost: x\r\n${authorization}\r\n` +
          `Expect: 100-continue\r\nContent-Length: ${body.length}\r\n\r\n`,
      ),
      body.subarray(0, -1),
    ]),
    (text) => text.includes("100 Continue"),
  );
  // The next request is answered after the origin has seen the connection end.
  for (let left = 1; left > 0; left = (await readdir(join(origin.dataDir, "incoming"))).length) {
    await origin.json(200, "GET", "/images");
  }
  assert.equal((await origin.call("HEAD", "/images/cut.jpg")).status, 404);
});

test("a client that goes away after its refusal, in the middle of a body that nobody reads, ends nothing", async () => {
  const head = ["DELETE /api/v1/images/none.jpg HTTP/1.1", "Host: a", authorization, "Transfer-Encoding: chunked"];
  const socket = connect(port, "127.0.0.1");
  socket.write(`${head.join("\r\n")}\r\n\r\n5\r\nhe`);
  await once(socket, "data");
  socket.destroy();
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
});

test("of all that was refused above nothing remains, and the good picture is untouched", async () => {
  assert.deepEqual(await readdir(join(origin.dataDir, "incoming")), []);
  const { images } = await origin.json<{ images: { name: string; version: number }[] }>(200, "GET", "/images");
  assert.deepEqual(
    images.map(({ name, version }) => [name, version]),
    [["good.jpg", 1]],
  );
  const blobs = await readdir(join(origin.dataDir, "blobs"), { recursive: true, withFileTypes: true });
  assert.equal(blobs.filter((entry) => entry.isFile()).length, 1);
});

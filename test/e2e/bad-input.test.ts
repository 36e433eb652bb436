/** Bad input, each a clear 4xx, and nothing else harmed: afterwards the same process answers the same good request. */
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { test } from "node:test";
import { deflateSync, crc32 } from "node:zlib";
import { seededRandom } from "#base/random.ts";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { fieldOf, request } from "../node/http/raw.ts";
import { startWorld } from "../support/world.ts";

test("bad input", async (t) => {
  // The limit of answers per network would hide what the flood below might harm.
  const world = await startWorld(t, ["fra"], { dns: { responsesPerSecond: 0 } });
  const edge = world.edge("fra");
  const original = await photograph(1);
  await world.api("PUT", "/images/good.jpg", original);
  const { pid } = edge.program();

  async function stillGood(): Promise<void> {
    assert.equal((await fetch(`${edge.url}/good.jpg?w=100`)).status, 200);
    assert.deepEqual((await ask(edge.dns, "img.cdn.test")).addresses, [edge.address]);
    const health = (await (await fetch(`${edge.adminUrl}/status`)).json()) as { pid: number };
    assert.equal(health.pid, pid, "it is the same process");
  }

  const uploads: [string, Buffer, number, string][] = [
    ["a text file named .jpg", Buffer.from("I am no picture.\n".repeat(100)), 415, "UNSUPPORTED_IMAGE"],
    ["an empty body", Buffer.alloc(0), 415, "UNSUPPORTED_IMAGE"],
    ["a truncated JPEG", original.subarray(0, original.length / 2), 422, "BROKEN_IMAGE"],
    ["a PNG bomb of 20,000 × 20,000 px", pngBomb(20_000, 20_000), 422, "TOO_MANY_PIXELS"],
  ];
  for (const [what, body, status, code] of uploads) {
    await t.test(`upload of ${what}: ${status} ${code}`, async () => {
      const answer = await world.api("PUT", "/images/bad.jpg", body, [status]);
      assert.equal(((await answer.json()) as { code: string }).code, code);
      await world.api("GET", "/images/bad.jpg", undefined, [404]);
    });
  }

  await t.test("every answer of an images host keeps a browser from running it, whatever its status", async () => {
    const at = { address: edge.address, port: Number(new URL(edge.url).port) };
    const host = "Host: img.cdn.test";
    const good = await request(at, "GET /good.jpg?w=100", [host]);
    const etag = fieldOf(good, "etag") ?? "";
    const long = "a".repeat(9000);
    const rows: [requestLine: string, fields: readonly string[], status: number][] = [
      ["GET /good.jpg?w=100", [host], 200],
      ["HEAD /good.jpg?w=100", [host], 200],
      ["GET /good.jpg?w=100", [host, "Range: bytes=0-9"], 206],
      ["GET /good.jpg?w=100", [host, `If-None-Match: ${etag}`], 304],
      ["GET /good.jpg?w=100", [host, 'If-Match: "other"'], 412],
      ["GET /good.jpg?w=100", [host, "Range: bytes=99999999-"], 416],
      ["GET /good.jpg?w=x", [host], 400],
      ["GET /../good.jpg", [host], 400],
      ["GET /none.jpg", [host], 404],
      ["POST /good.jpg", [host], 405],
      [`GET /${long}`, [host], 414],
      ["GET /good.jpg", ["Host: other.test"], 421],
      ["GET /good.jpg", [host, `X: ${long.repeat(11)}`], 431],
      ["GET /good.jpg", [host, "a b: c"], 400],
      ["GET /.nearcast/health", [host], 200],
    ];
    for (const [requestLine, fields, status] of rows) {
      const answer = await request(at, requestLine, fields);
      const row = `${requestLine.slice(0, 60)} ${fields.join().slice(0, 60)}`;
      assert.equal(answer.status, status, row);
      assert.equal(fieldOf(answer, "x-content-type-options"), "nosniff", row);
      assert.equal(fieldOf(answer, "content-security-policy"), "default-src 'none'; sandbox", row);
    }
  });

  const parameters: [string, string][] = [
    ["w=0", "w"],
    ["w=abc", "w"],
    ["w=99999999", "w"],
    ["h=-1", "h"],
    ["q=101", "q"],
    ["fit=sideways", "fit"],
    ["fm=exe", "fm"],
    ["dpr=9", "dpr"],
    ["bg=zz", "bg"],
    ["preset=nope", "preset"],
  ];
  for (const [query, parameter] of parameters) {
    await t.test(`?${query}: 400 that names ${parameter}, the value and the range`, async () => {
      const answer = await fetch(`${edge.url}/good.jpg?${query}`);
      const problem = (await answer.json()) as Record<string, string>;
      assert.equal(answer.status, 400);
      assert.equal(problem["code"], "BAD_PARAMETER");
      assert.equal(problem["parameter"], parameter);
      assert.ok(problem["value"] !== undefined && (problem["allowed"] ?? "").length > 3, JSON.stringify(problem));
      assert.equal(answer.headers.get("content-type"), "application/problem+json; charset=utf-8");
    });
  }

  const targets: [string, string, number][] = [
    ["/../", "/../secret.jpg", 400],
    ["%2e%2e", "/a/%2e%2e/%2e%2e/secret.jpg", 400],
    ["an encoded slash", "/..%2fsecret.jpg", 400],
    ["NUL", "/good.jpg%00.png", 400],
    ["half a percent sign", "/good%2.jpg", 400],
    ["bytes that are no UTF-8", "/%ff%fe.jpg", 400],
    ["a query of 64 KB", `/good.jpg?x=${"a".repeat(65_536)}`, 414],
    ["a query of 10 KB", `/good.jpg?x=${"a".repeat(10_240)}`, 414],
  ];
  for (const [what, target, status] of targets) {
    await t.test(`a request target with ${what}: ${status}`, async () => {
      const answer = await raw(
        edge.address,
        `GET ${target} HTTP/1.1\r\nHost: img.cdn.test\r\nConnection: close\r\n\r\n`,
      );
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `));
      assert.match(answer, /application\/problem\+json/);
    });
  }
  const requests: [string, string, number][] = [
    ["an unknown host", "GET /good.jpg HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n", 421],
    ["no host", "GET /good.jpg HTTP/1.1\r\nConnection: close\r\n\r\n", 400],
    [
      "a body and POST",
      "POST /good.jpg HTTP/1.1\r\nHost: img.cdn.test\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
      405,
    ],
    ["no HTTP at all", "hello\r\n\r\n", 400],
    ["200 KB of header fields", `GET / HTTP/1.1\r\nHost: img.cdn.test\r\nX: ${"a".repeat(204_800)}\r\n\r\n`, 431],
  ];
  for (const [what, text, status] of requests) {
    await t.test(`a request with ${what}: ${status}`, async () => {
      assert.match(await raw(edge.address, text), new RegExp(`^HTTP/1.1 ${status} `));
    });
  }

  await t.test("packets that are no query, and 20,000 random ones, leave DNS answering", async () => {
    const random = seededRandom(7);
    const socket = createSocket("udp4");
    t.after(() => socket.close());
    const send = async (packet: Buffer): Promise<void> => {
      await new Promise<void>((resolve) => {
        socket.send(packet, edge.dns.port, edge.dns.host, () => {
          resolve();
        });
      });
    };
    for (let length = 0; length < 12; length += 1) await send(Buffer.alloc(length, 1));
    for (let count = 0; count < 20_000; count += 1) {
      await send(Buffer.from(Array.from({ length: Math.floor(random() * 80) }, () => Math.floor(random() * 256))));
    }
    await stillGood();
  });

  await t.test("after all of it the same process answers as before", stillGood);
});

/** Sends bytes as they are, and gives what comes back until the other side closes. */
async function raw(host: string, text: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    const socket = connect(8080, host, () => socket.write(text));
    const chunks: Buffer[] = [];
    socket.setTimeout(10_000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", (error) => {
      if (chunks.length === 0) reject(error);
    });
    socket.on("close", () => {
      resolve(Buffer.concat(chunks).toString("latin1"));
    });
  });
}

/** A PNG that unpacks to `width` × `height` white pixels from some hundred kilobytes. */
function pngBomb(width: number, height: number): Buffer {
  const chunk = (type: string, body: Buffer): Buffer => {
    const named = Buffer.concat([Buffer.from(type, "latin1"), body]);
    const framed = Buffer.alloc(named.length + 8);
    framed.writeUInt32BE(body.length, 0);
    named.copy(framed, 4);
    framed.writeUInt32BE(crc32(named), named.length + 4);
    return framed;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([1, 0, 0, 0, 0], 8); // one bit per pixel, greyscale
  const rows = Buffer.alloc((Math.ceil(width / 8) + 1) * height);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** The corpus at the origin's API, and requests with bodies, which the origin reads. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { jpeg, startTestOrigin, type TestOrigin } from "../../origin/running-origin.ts";
import { fieldLines } from "./fields.ts";
import { framings } from "./framing.ts";
import { casesOf, hostLine, type RawCase, type Row } from "./raw-case.ts";
import { requestLines } from "./request-lines.ts";
import { runAll } from "./run-all.ts";
import type { Server } from "./run-case.ts";
import { pipelines, requestTargets } from "./targets.ts";

/** For GET and HEAD. */
const resource = "/api/openapi.json";

async function start(t: TestContext): Promise<{ origin: TestOrigin; server: Server; authorization: string }> {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  const authorization = `Authorization: Bearer ${origin.tokens.writer}`;
  const server = {
    address: "127.0.0.1",
    port: origin.port,
    probe: `GET /healthz HTTP/1.1\r\n${hostLine}\r\nConnection: close\r\n\r\n`,
    isProbed: ({ body }: { body: Buffer }) => body.toString() === '{"status":"ok"}',
  };
  return { origin, server, authorization };
}

/** The same case for a resource of the origin, with a token: without one, each response closes its connection. */
function forOrigin({ bytes, ...one }: RawCase, authorization: string): RawCase {
  const named = bytes.replaceAll(/(?<= |\.test|:8080)\/a(?= +HTTP|\tHTTP)/g, resource);
  const allowed = named.replaceAll(/^(?!GET \/hidden).* HTTP\/1\.[01]\r\n/gm, `$&${authorization}\r\n`);
  return { ...one, bytes: allowed };
}

/** By a case's name: what the origin answers although the RFC says otherwise (corpus.ts has the reasons). */
const deviations: ReadonlyMap<string, string> = new Map([["RTSP", "404"]]);

test("the origin answers raw requests as the RFCs say", async (t) => {
  const { server, authorization } = await start(t);
  const all = [...requestLines, ...requestTargets, ...pipelines, ...fieldLines, ...framings];
  const cases = all.map((one) => forOrigin(one, authorization));
  const wrong = await runAll({ origin: server }, cases, { deviations, isAnyRight: true });
  assert.deepEqual(wrong, []);
});

const json = '{"names":["a.jpg"]}';
const half = json.slice(0, 9);
const size = (text: string): string => text.length.toString(16);

function purge(body: string, ...lines: readonly string[]): string {
  const type = "Content-Type: application/json";
  return ["POST /api/v1/purges HTTP/1.1", hostLine, type, ...lines, "", ""].join("\r\n") + body;
}
const chunks = (body: string): string => purge(body, "Transfer-Encoding: chunked");

const bodies: readonly Row[] = [
  ["a length", "9112 §6.3", purge(json, `Content-Length: ${json.length}`), "202", "open"],
  ["a chunk", "9112 §7.1", chunks(`${size(json)}\r\n${json}\r\n0\r\n\r\n`), "202", "open"],
  [
    "two chunks",
    "9112 §7.1",
    chunks(`${size(half)}\r\n${half}\r\n${size(json.slice(9))}\r\n${json.slice(9)}\r\n0\r\n\r\n`),
    "202",
    "open",
  ],
  ["leading zeros of a size", "9112 §7.1", chunks(`000${size(json)}\r\n${json}\r\n000\r\n\r\n`), "202|400", "either"],
  ["an extension", "9112 §7.1.1", chunks(`${size(json)};x=y;z="a b"\r\n${json}\r\n0;x\r\n\r\n`), "202", "open"],
  ["a trailer", "9112 §7.1.2", chunks(`${size(json)}\r\n${json}\r\n0\r\nX: y\r\n\r\n`), "202", "open"],
  [
    "a trailer that frames",
    "9110 §6.5.1",
    chunks(`${size(json)}\r\n${json}\r\n0\r\nContent-Length: 5\r\n\r\n`),
    "400|202",
    "either",
  ],
  ["a size that overflows", "9112 §7.1", chunks(`fffffffffffffffff\r\n${json}\r\n0\r\n\r\n`), "400|413", "closed"],
  ["a size of -1", "9112 §7.1", chunks(`-1\r\n${json}\r\n0\r\n\r\n`), "400", "closed"],
  ["a size of 0x13", "9112 §7.1", chunks(`0x13\r\n${json}\r\n0\r\n\r\n`), "400", "closed"],
  ["no size", "9112 §7.1", chunks(`\r\n${json}\r\n0\r\n\r\n`), "400", "closed"],
  ["an extension without a size", "9112 §7.1", chunks(`;x\r\n${json}\r\n0\r\n\r\n`), "400", "closed"],
  ["a space behind the size", "9112 §7.1", chunks(`${size(json)} \r\n${json}\r\n0\r\n\r\n`), "400|202", "either"],
  ["no line end behind the data", "9112 §7.1", chunks(`${size(json)}\r\n${json}0\r\n\r\n`), "400", "closed"],
  ["LF behind the size", "9112 §7.1", chunks(`${size(json)}\n${json}\r\n0\r\n\r\n`), "400|202", "either"],
  ["LF behind the data", "9112 §7.1", chunks(`${size(json)}\r\n${json}\n0\r\n\r\n`), "400|202", "either"],
  ["LF in an extension", "9112 §7.1.1", chunks(`${size(json)};\n${json}\r\n0\r\n\r\n`), "400|202", "either"],
  ["CR in an extension", "9112 §7.1.1", chunks(`${size(json)};x\ry\r\n${json}\r\n0\r\n\r\n`), "400|202", "either"],
  ["less data than a chunk says", "9112 §7.1", chunks(`ff\r\n${json}\r\n0\r\n\r\n`), "400", "half-closed"],
  ["no last chunk", "9112 §8", chunks(`${size(json)}\r\n${json}\r\n`), "400", "half-closed"],
  ["less data than the length", "9112 §8", purge(half, `Content-Length: ${json.length}`), "400", "half-closed"],
  [
    "more data than the length",
    "9112 §9.3.2",
    `${purge(json, `Content-Length: ${json.length}`)}x\r\n\r\n`,
    "202 400",
    "closed",
  ],
  [
    "two bodies at once",
    "9112 §9.3.2",
    purge(json, `Content-Length: ${json.length}`) + chunks(`${size(json)}\r\n${json}\r\n0\r\n\r\n`),
    "202 202",
    "open",
  ],
  [
    "a body, then one that can't be read",
    "9112 §9.3.2",
    purge(json, `Content-Length: ${json.length}`) + chunks("x\r\n"),
    "202 400",
    "closed",
  ],
  ["two codings", "9112 §6.1", purge("0\r\n\r\n", "Transfer-Encoding: gzip, chunked"), "501", "closed"],
  ["another coding last", "9112 §6.3", purge(json, "Transfer-Encoding: chunked, gzip"), "400", "closed"],
];

test("bodies that the origin reads end where RFC 9112 says, or the request is refused", async (t) => {
  const { server, authorization } = await start(t);
  const cases = casesOf(bodies).map((one) => forOrigin(one, authorization));
  assert.deepEqual(await runAll({ origin: server }, cases), []);
});

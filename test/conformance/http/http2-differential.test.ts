/**
 * The same requests to two edges that are alike, over HTTP/1.1 without a front and over HTTP/2. Their responses must be
 * equal, except for fields about a connection, and what they asked their origins and told their metrics.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import type { Listener } from "../../../node/http/listener.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { type Answer, openLine, readAnswers } from "../../node/http/raw.ts";
import { ask as askOver2, openSession, type Response2, responseOf, startRequest } from "../../node/http2/ask.ts";
import { hostName } from "./running-edge.ts";
import {
  comparable,
  connectionFields,
  listOf,
  openBoth,
  randomRequest,
  type Request,
  stored,
  textOf,
  unstored,
} from "./corpus.ts";

async function askOver1(listener: Listener, requests: readonly Request[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const request of requests) {
    const line = await openLine(listener);
    line.send(Buffer.from(textOf({ ...request, lines: [...request.lines, "Connection: close"] }), "latin1"));
    answers.push(...readAnswers(await line.rest(), { isHead: request.method === "HEAD" }));
  }
  return answers;
}

/** What both protocols can say. */
function sharedPart(answer: Answer): unknown {
  const fields = new Map([...answer.fields].filter(([name]) => !connectionFields.includes(name)));
  return comparable({ ...answer, fields, reason: "" });
}

function inTermsOf1({ status, fields, body, code }: Response2): Answer {
  assert.equal(code, 0, "the response is complete");
  return { status, reason: "", fields, body };
}

test("responses over HTTP/2 are those of HTTP/1.1", async (t) => {
  const seed = seedOr(2027);
  const random = seededRandom(seed);
  const [over2, over1] = await openBoth(t);
  const wanted = rounds(1000, 20_000);
  const words = new Map<string, number>();
  for (let asked = 0; asked < wanted;) {
    const session = await openSession(t, over2.listeners().overHttp2);
    for (let count = 0; count < 50; count += 1) {
      const request = randomRequest(random);
      const list = listOf(request);
      if (list === undefined) continue;
      asked += 1;
      const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(list)}`;
      const [answer, [expected]] = await Promise.all([
        askOver2(session, list),
        askOver1(over1.listeners().alone, [request]),
      ]);
      assert.ok(expected !== undefined, where);
      assert.deepEqual(sharedPart(inTermsOf1(answer)), sharedPart(expected), where);
      await Promise.all([over2.flushed(), over1.flushed()]);
      const [mine, theirs] = [over2, over1].map(({ served }) => {
        const { host, kind, outcome, status, bodyBytes } = served.at(-1) ?? {};
        return { host, kind, outcome, status, bodyBytes };
      });
      assert.deepEqual(mine, theirs, where);
      words.set(String(mine?.outcome), (words.get(String(mine?.outcome)) ?? 0) + 1);
      if (random() < 0.03) for (const edge of [over2, over1]) edge.skip(1);
    }
    session.close();
    await once(session, "close");
  }
  t.diagnostic(JSON.stringify(Object.fromEntries(words)));
  for (const word of ["hit", "miss", "error"]) assert.ok((words.get(word) ?? 0) > wanted / 100, word);
  for (const target of [...Object.keys({ ...stored, ...unstored }), "/api/v1/images/p.jpg"]) {
    const [mine, theirs] = [over2, over1].map(({ origin }) => origin.asked(target).map(({ method }) => method));
    assert.deepEqual(mine, theirs, `questions to the origin for ${target}`);
  }
});

/** Requests that are no plain GET or HEAD. `fields` are names and values in turn. */
const others: readonly { method: string; target: string; host?: string; fields?: readonly string[]; body?: string }[] =
  [
    { method: "POST", target: "/a", body: "body" },
    { method: "POST", target: "/a", fields: ["content-length", "4"], body: "body" },
    { method: "POST", target: "/a", fields: ["content-length", "4", "expect", "100-continue"], body: "body" },
    { method: "PUT", target: "/p.jpg", host: "img.cdn.test", body: "x".repeat(3000) },
    { method: "PATCH", target: "/a" },
    { method: "DELETE", target: "/a" },
    { method: "OPTIONS", target: "/a" },
    { method: "OPTIONS", target: "*" },
    { method: "TRACE", target: "/a" },
    { method: "BREW", target: "/a" },
    { method: "PROPFIND", target: "/a" },
    { method: "GET", target: "/a", fields: ["content-length", "4"], body: "body" },
    { method: "GET", target: "/first/1", body: "body" },
    { method: "GET", target: "/a", fields: ["content-length", "0"] },
    { method: "HEAD", target: "/a", fields: ["content-length", "4"], body: "body" },
    { method: "GET", target: "/.nearcast/health" },
    { method: "HEAD", target: "/.nearcast/health" },
    { method: "GET", target: `/${"l".repeat(9000)}` },
    { method: "GET", target: "/a", fields: ["x-long", "l".repeat(30_000)] },
    { method: "GET", target: "/a#b" },
    { method: "GET", target: "/\xe4" },
  ];

test("the same for methods that are refused, bodies, and odd targets", async (t) => {
  const [over2, over1] = await openBoth(t);
  const session = await openSession(t, over2.listeners().overHttp2);
  for (const { method, target, host = hostName, fields = [], body } of others) {
    const where = `${method} ${target.slice(0, 40)} ${fields.join(" ").slice(0, 60)}`;
    const list = [":method", method, ":scheme", "http", ":authority", host, ":path", target, ...fields];
    const stream = startRequest(session, list, body !== undefined);
    if (body !== undefined) stream.end(body);
    const answer = await responseOf(stream);
    const lines = [`Host: ${host}`];
    for (let index = 0; index < fields.length; index += 2) lines.push(`${fields[index]}: ${fields[index + 1]}`);
    if (body !== undefined && !fields.includes("content-length")) lines.push("Transfer-Encoding: chunked");
    const framed = fields.includes("content-length") ? body : `${body?.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const line = await openLine(over1.listeners().alone);
    const head = [`${method} ${target} HTTP/1.1`, ...lines, "Connection: close", "", ""].join("\r\n");
    line.send(Buffer.from(`${head}${body === undefined ? "" : framed}`, "latin1"));
    const [expected] = readAnswers(await line.rest(), { isHead: method === "HEAD" });
    assert.ok(expected !== undefined, where);
    assert.deepEqual(withoutNumber(inTermsOf1(answer)), withoutNumber(expected), where);
  }
});

/** What both can say, without the number of the request, and without Date, which answers of Node's parser lack. */
function withoutNumber(answer: Answer): unknown {
  const fields = new Map([...answer.fields].filter(([name]) => name !== "x-request-id" && name !== "date"));
  return sharedPart({ ...answer, fields });
}

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { CommandFailure, exitCodes } from "../../../deploy/cli/exit-codes.ts";
import {
  askOverOrigin,
  publishFleet,
  purge,
  putImage,
  readFleet,
  readRoster,
} from "../../../deploy/cli/origin-answers.ts";
import { createOriginClient } from "../../../deploy/cli/origin-client.ts";
import { startTestOrigin } from "../../origin/running-origin.ts";
import { temporaryFolder } from "../support/command.ts";

test("a file that can't be read is no origin that can't be reached", async (t) => {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const folder = await temporaryFolder(t, "put");
  await mkdir(join(folder, "folder.jpg"));
  const client = createOriginClient({ url: origin.url, urlFrom: "--origin", token: async () => origin.tokens.writer });
  t.after(client.close);
  for (const [name, reason] of [
    ["gone.jpg", /gone\.jpg can't be read: no such file/],
    ["folder.jpg", /folder\.jpg can't be read: it is a directory/],
  ] as const) {
    const source = { file: join(folder, name), sizeBytes: 5, onBytes: () => {} };
    await assert.rejects(putImage(client, name, source), (error) => {
      assert.ok(error instanceof CommandFailure);
      assert.match(error.message, reason);
      assert.equal(error.exitCode, exitCodes.failed);
      return true;
    });
  }
});

async function clientOf(t: TestContext, answer: RequestListener, more: { tokenFile?: string } = {}) {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const place = { url, urlFrom: "--origin", token: () => Promise.resolve("token"), ...more };
  const client = createOriginClient(place, { answerTimeoutMs: 300 });
  t.after(client.close);
  return client;
}

async function failureOf(work: Promise<unknown>): Promise<CommandFailure> {
  const error = await work.then(
    () => assert.fail("it did not fail"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof CommandFailure, String(error));
  return error;
}

test("an origin that is reached and does not answer is not one that is away; a change may be made", async (t) => {
  const client = await clientOf(t, () => {});
  const [read, question, change] = await Promise.all([
    failureOf(readRoster(client)),
    failureOf(askOverOrigin(client, { question: { kind: "status" } })),
    failureOf(purge(client, { names: ["a.jpg"] })),
  ]);
  for (const { message, exitCode, code, lines } of [read, question, change]) {
    assert.match(message, /^the origin at \S+ accepts connections but did not answer within 0\.3 s$/);
    assert.deepEqual([exitCode, code], [exitCodes.unreachable, "NO_ANSWER"]);
    assert.doesNotMatch(lines.join("\n"), /Is it running/);
  }
  assert.match(change.lines.join("\n"), /may still be working on this: check with `npx nearcast audit` before you try/);
  for (const { lines } of [read, question]) assert.doesNotMatch(lines.join("\n"), /before you try/);
});

test("a connection that is cut before the answer: a change may have been made", async (t) => {
  const client = await clientOf(t, (request) => void request.socket.destroy());
  const { message, lines } = await failureOf(purge(client, { names: ["a.jpg"] }));
  assert.match(message, /can't be reached: the connection was closed before it answered$/);
  assert.match(lines[0] ?? "", /^The request may have succeeded anyway: check with `npx nearcast audit` before/);
  assert.doesNotMatch((await failureOf(readRoster(client))).lines.join("\n"), /before you try/);
});

test("an answer that stops in its middle is reported as that", async (t) => {
  const client = await clientOf(t, (_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).write('{"revision":');
  });
  assert.match((await failureOf(readRoster(client))).message, /stopped in the middle of its answer$/);
});

test("a fleet document has a longer deadline than other calls, and its own verb to look with", async (t) => {
  const published = { version: 7, author: "a", createdAt: "2026-01-01T00:00:00Z", summary: "1 site", unchanged: false };
  const client = await clientOf(t, (request, response) => {
    request.resume().once("end", () => {
      setTimeout(() => response.end(JSON.stringify(published)), 1500);
    });
  });
  assert.equal((await publishFleet(client, { text: "version: 1" })).version, 7);
  const path = "/fleet";
  const late = await failureOf(client.call({ method: "PUT", path, body: { text: "", type: "application/yaml" } }));
  assert.match(late.lines.join("\n"), /check with `npx nearcast fleet releases` before you try again/);
});

test("where the origin says that its disk is full, the verb says so", async (t) => {
  const detail = "the disk of the origin is full: free some space, then try again";
  const problem = { title: "The disk failed", status: 500, code: "DISK_FAILED", requestId: "r1", detail };
  const client = await clientOf(t, (_request, response) => {
    response.writeHead(500, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
  });
  const { message, exitCode } = await failureOf(purge(client, { names: ["a.jpg"] }));
  assert.deepEqual([message, exitCode], [`${detail} (DISK_FAILED)`, exitCodes.failed]);
});

test("an edge in the place of the origin is reported as that, whatever it answers", async (t) => {
  for (const [headers, code] of [
    [{ "cache-status": "fra1; fwd=uri-miss" }, "NOT_FOUND"],
    [{}, "UNKNOWN_HOST"],
    [{ allow: "GET, HEAD" }, "METHOD_NOT_ALLOWED"],
  ] as const) {
    const client = await clientOf(t, (_request, response) => {
      response.writeHead(404, { "content-type": "application/problem+json", ...headers });
      response.end(JSON.stringify({ title: "…", status: 404, code }));
    });
    // Where there may be no fleet document, a 404 is an answer: not that of an edge.
    for (const work of [readFleet(client), purge(client, { names: ["a.jpg"] })]) {
      const { message, lines, exitCode } = await failureOf(work);
      assert.match(message, /^http:\/\/127\.0\.0\.1:\d+ is an edge, not the origin$/);
      assert.match(lines.join(), /^The address comes from --origin\. Give the address of the origin: --origin URL/);
      assert.equal(exitCode, exitCodes.usage);
    }
  }
});

test("a refused token is named by the file that it came from", async (t) => {
  const client = await clientOf(
    t,
    (_request, response) => {
      response.writeHead(401, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ title: "A valid bearer token is required", status: 401, code: "UNAUTHORIZED" }));
    },
    { tokenFile: "/srv/writer.token" },
  );
  const { message, lines } = await failureOf(readRoster(client));
  assert.match(message, /\(UNAUTHORIZED, status 401\)$/);
  assert.match(lines[0] ?? "", /^The token in \/srv\/writer\.token is not the writer token of the origin at http/);
});

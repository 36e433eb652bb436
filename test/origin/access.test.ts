/** Who may do what, and how the tokens are kept. */
import assert from "node:assert/strict";
import { chmod, readFile, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { loadTokens, tokenId } from "../../origin/tokens.ts";
import { codeOf, jpeg, raw, startTestOrigin, statusOf, temporaryDirectory, wholeFile } from "./running-origin.ts";

const origin = await startTestOrigin(wholeFile);

test("every route lets in exactly those who may", async () => {
  await origin.json(201, "PUT", "/images/a.jpg", { body: await jpeg(1) });
  // What the writer is answered, where it is not 2xx for want of something to act on.
  const routes: [string, string, "anybody" | "edge" | "edge-only" | "writer"][] = [
    ["GET", "/images/a.jpg", "edge"],
    ["HEAD", "/images/a.jpg", "edge"],
    ["PUT", "/images/b.jpg", "writer"],
    ["DELETE", "/images/c.jpg", "writer"],
    ["GET", "/images", "writer"],
    ["GET", "/versions/a.jpg", "writer"],
    ["POST", "/rollbacks", "writer"],
    ["POST", "/purges", "writer"],
    ["GET", "/fleet", "edge"],
    ["PUT", "/fleet", "writer"],
    ["GET", "/fleet/versions", "writer"],
    ["POST", "/fleet/rollbacks", "writer"],
    ["GET", "/fleet/secret", "edge-only"],
    ["POST", "/fleet/secret/rotations", "writer"],
    ["GET", "/nodes", "edge"],
    ["POST", "/nodes", "edge"],
    ["DELETE", "/nodes/fra1", "writer"],
    ["PUT", "/nodes/fra1/draining", "writer"],
    ["DELETE", "/nodes/fra1/draining", "writer"],
    ["GET", "/feed?since=x", "edge"],
    ["GET", "/audit", "writer"],
    ["GET", `${origin.url}/healthz`, "anybody"],
    ["GET", `${origin.url}/metrics`, "edge"],
    ["GET", `${origin.url}/api/openapi.json`, "anybody"],
  ];
  const presented: [string, string | null, readonly string[]][] = [
    ["no token", null, ["anybody"]],
    ["an unknown token", "x".repeat(43), ["anybody"]],
    ["the edge's token", origin.tokens.edge, ["anybody", "edge", "edge-only"]],
    ["the writer's token", origin.tokens.writer, ["anybody", "edge", "writer"]],
  ];
  for (const [method, path, access] of routes) {
    for (const [who, token, mayDo] of presented) {
      const answer = await origin.call(method, path, { token });
      await answer.arrayBuffer();
      const row = `${method} ${path} with ${who}: ${answer.status}`;
      const challenge = answer.headers.get("www-authenticate");
      if (mayDo.includes(access)) {
        assert.ok(answer.status !== 401 && answer.status !== 403, row);
        continue;
      }
      const isKnown = token === origin.tokens.edge || token === origin.tokens.writer;
      assert.equal(answer.status, isKnown ? 403 : 401, row);
      assert.match(challenge ?? "", /^Bearer realm="nearcast"/, row);
      assert.equal(challenge?.includes("error="), token !== null, row);
    }
  }
});

test("only the exact form of a bearer header is read", async () => {
  const { writer } = origin.tokens;
  const table: [string, number][] = [
    [`Authorization: Bearer ${writer}`, 200],
    [`authorization: bearer ${writer}`, 200],
    [`Authorization: Bearer  ${writer}`, 401],
    [`Authorization: Bearer ${writer} x`, 401],
    [`Authorization: Bearer ${writer},Bearer ${writer}`, 401],
    [`Authorization: Bearer ${writer.slice(0, -1)}`, 401],
    [`Authorization: Bearer`, 401],
    [`Authorization: ${writer}`, 401],
    [`Authorization: Basic ${writer}`, 401],
    [`Authorization: Bearer ${"x".repeat(10_000)}`, 401],
    [`X-Authorization: Bearer ${writer}`, 401],
  ];
  for (const [header, status] of table) {
    const answer = await raw(
      origin.port,
      `GET /api/v1/images HTTP/1.1\r\nHost: x\r\n${header}\r\nConnection: close\r\n\r\n`,
    );
    assert.equal(statusOf(answer), status, header.slice(0, 80));
    if (status === 401) assert.equal(codeOf(answer), "UNAUTHORIZED");
  }
});

test("tokens are made once, for the owner's eyes only", async (t) => {
  const directory = join(await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) }), "secrets");
  const first = await loadTokens(directory);
  for (const file of Object.values(first.files)) {
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.match(await readFile(file, "utf8"), /^[A-Za-z0-9_-]{43}\n$/);
  }
  assert.equal((await stat(directory)).mode & 0o777, 0o700);
  const writer = (await readFile(first.files.writer, "utf8")).trim();
  const second = await loadTokens(directory);
  assert.deepEqual(second.judge(`Bearer ${writer}`), { outcome: "known", kind: "writer", id: tokenId(writer) });

  await unlink(first.files.writer);
  const third = await loadTokens(directory);
  assert.deepEqual(third.judge(`Bearer ${writer}`), { outcome: "unknown" });
});

test("a token that others could read, or that is none, keeps the origin from starting", async (t) => {
  const directory = join(await temporaryDirectory({ after: (cleanUp) => t.after(cleanUp) }), "secrets");
  const { files } = await loadTokens(directory);
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(files.edge, mode);
    await assert.rejects(loadTokens(directory), /chmod 600/);
  }
  await chmod(files.edge, 0o600);
  await writeFile(files.edge, "");
  await assert.rejects(loadTokens(directory), /holds no token/);
});

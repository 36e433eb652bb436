/** The OpenAPI document and the metrics tell of everything that is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { jpeg, startTestOrigin, wholeFile } from "./running-origin.ts";

const origin = await startTestOrigin(wholeFile);

interface Operation {
  summary?: string;
  security?: unknown[];
  requestBody?: { content: Record<string, unknown> };
  responses: Record<string, { content?: Record<string, unknown> }>;
  parameters?: { name: string; in: string }[];
}

test("the OpenAPI document lists every route with its schema, tokens and problems", async () => {
  const answer = await fetch(`${origin.url}/api/openapi.json`);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/json/);
  const document = (await answer.json()) as { openapi: string; paths: Record<string, Record<string, Operation>> };
  assert.equal(document.openapi, "3.1.0");
  const listed = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.deepEqual(listed.toSorted(), [
    "DELETE /api/v1/images/{path}",
    "DELETE /api/v1/nodes/{name}",
    "DELETE /api/v1/nodes/{name}/draining",
    "DELETE /api/v1/tokens/{kind}/older",
    "GET /api/openapi.json",
    "GET /api/v1/audit",
    "GET /api/v1/feed",
    "GET /api/v1/fleet",
    "GET /api/v1/fleet/secret",
    "GET /api/v1/fleet/versions",
    "GET /api/v1/images",
    "GET /api/v1/images/{path}",
    "GET /api/v1/nodes",
    "GET /api/v1/nodes/connected",
    "GET /api/v1/purges/{seq}",
    "GET /api/v1/tokens",
    "GET /api/v1/tokens/edge/current",
    "GET /api/v1/verifications",
    "GET /api/v1/versions/{path}",
    "GET /healthz",
    "GET /metrics",
    "HEAD /api/v1/feed",
    "HEAD /api/v1/images/{path}",
    "POST /api/v1/channel/answers",
    "POST /api/v1/channel/introductions",
    "POST /api/v1/channel/presence",
    "POST /api/v1/channel/purge-reports",
    "POST /api/v1/fleet/rollbacks",
    "POST /api/v1/fleet/secret/rotations",
    "POST /api/v1/nodes",
    "POST /api/v1/nodes/questions",
    "POST /api/v1/purges",
    "POST /api/v1/rollbacks",
    "POST /api/v1/tokens/{kind}/rotations",
    "PUT /api/v1/fleet",
    "PUT /api/v1/images/{path}",
    "PUT /api/v1/nodes/{name}/draining",
  ]);
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const row = `${method} ${path}`;
      assert.ok((operation.summary ?? "").length > 0, row);
      assert.ok(operation.responses["default"]?.content?.["application/problem+json"] !== undefined, row);
      const isOpen = path === "/healthz" || path === "/api/openapi.json";
      assert.equal(operation.security?.length, isOpen ? 0 : 1, row);
      for (const [, name] of path.matchAll(/\{(\w+)\}/g)) {
        assert.ok(
          operation.parameters?.some((parameter) => parameter.name === name && parameter.in === "path"),
          row,
        );
      }
    }
  }
  assert.deepEqual(Object.keys(document.paths["/api/v1/images/{path}"]?.["put"]?.requestBody?.content ?? {}), ["*/*"]);
  assert.deepEqual(Object.keys(document.paths["/api/v1/fleet"]?.["put"]?.requestBody?.content ?? {}), [
    "application/yaml",
  ]);
  const feed = document.paths["/api/v1/feed"]?.["get"]?.responses["200"]?.content ?? {};
  assert.deepEqual(Object.keys(feed), ["text/event-stream"]);
});

test("metrics count requests by route, never by path", async () => {
  await origin.json(201, "PUT", "/images/secret/name.jpg", { body: await jpeg(1) });
  await origin.call("GET", "/images/secret/name.jpg");
  const answer = await origin.call("GET", `${origin.url}/metrics`, { token: origin.tokens.edge });
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain/);
  const text = await answer.text();
  assert.match(text, /^nearcast_origin_requests_total\{route="\/api\/v1\/images\/\*",method="PUT",status="201"\} 1$/m);
  assert.match(text, /^nearcast_origin_uploads 0$/m);
  assert.match(text, /^nearcast_origin_feed_published_total 1$/m);
  assert.ok(!text.includes("secret"));
});

test("metrics count refused tokens by reason, and nothing for a request without one", async () => {
  const counts = async (): Promise<Record<string, number>> => {
    const text = await (await origin.call("GET", `${origin.url}/metrics`, { token: origin.tokens.edge })).text();
    const lines = text.matchAll(/^nearcast_origin_tokens_refused_total\{reason="([a-z-]+)"\} (\d+)$/gm);
    return Object.fromEntries([...lines].map(([, reason = "", count]) => [reason, Number(count)]));
  };
  const before = await counts();
  await origin.json(401, "GET", "/images", { token: null });
  assert.deepEqual(await counts(), before);
  for (const token of ["x".repeat(43), "y".repeat(43), "not / one word"]) {
    await origin.json(401, "GET", "/images", { token });
  }
  await origin.json(403, "POST", "/purges", { token: origin.tokens.edge, body: "{}" });
  const grown = Object.entries(await counts()).map(([reason, count]) => [reason, count - (before[reason] ?? 0)]);
  assert.deepEqual(Object.fromEntries(grown), { malformed: 1, unknown: 2, "wrong-kind": 1 });
});

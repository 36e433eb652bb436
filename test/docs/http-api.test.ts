/** http-api.md lists the routes that the origin's own OpenAPI document has. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startTestOrigin, wholeFile } from "../origin/running-origin.ts";
import { documentationPages } from "./pages.ts";

const origin = await startTestOrigin(wholeFile);

test("the page has every route of the origin, with the token that it needs, and no other", async () => {
  const answer = await fetch(`${origin.url}/api/openapi.json`);
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, { description: string }>> };
  const tokens: Readonly<Record<string, string>> = {
    "Needs no token.": "no token",
    "Needs the edge token or the writer token.": "edge or writer",
    "Needs the writer token.": "writer",
    "Needs the edge token; the writer token is not accepted.": "edge only",
  };
  const wanted = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      // HEAD stands beside its GET.
      .filter(([method]) => method !== "head")
      .map(([method, { description }]) => `${method.toUpperCase()} ${path} (${tokens[description] ?? description})`),
  );
  const page = (await documentationPages()).find(({ path }) => path === "deploy/docs/http-api.md");
  const listed = [...(page?.text ?? "").matchAll(/^- `([A-Z]+ \/(?:api|healthz|metrics)\S*)` \(([^)]+)\):/gm)];
  assert.deepEqual(listed.map(([, route = "", token = ""]) => `${route} (${token})`).toSorted(), wanted.toSorted());
});

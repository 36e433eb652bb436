import assert from "node:assert/strict";
import { test } from "node:test";
import { unknownPicture, urlLines } from "../../../../../deploy/cli/verbs/explain/explain-url.ts";

const picture = {
  host: "img.cdn.test",
  kind: "images",
  variant: { widthPx: 640, fit: "clip", quality: 75, format: "avif" },
  varies: true,
  source: "shop/chair.jpg",
  record: { meaning: { sha256: "ab" }, mark: null },
  use: { state: "fresh", ageSeconds: 12, ttlSeconds: 48 },
  key: "k",
  tier: "memory",
  verdict: "fresh",
  why: "validated 12 s ago",
};

test("a URL is explained in sentences first, then with every figure", () => {
  assert.deepEqual(urlLines(picture), [
    "host     img.cdn.test, which serves pictures",
    "picture  shop/chair.jpg, 640 px wide, as AVIF",
    "answer   the copy on this node, without asking anyone (memory)",
    "why      validated 12 s ago; fresh for another 48 s",
    "",
    "in detail:",
    "  host     img.cdn.test",
    "  kind     images",
    "  variant",
    "    widthPx  640",
    "    fit      clip",
    "    quality  75",
    "    format   avif",
    "  varies   true",
    "  source   shop/chair.jpg",
    "  record",
    "    meaning",
    "      sha256  ab",
    "  use",
    "    state       fresh",
    "    ageSeconds  12",
    "    ttlSeconds  48",
    "  key      k",
    "  tier     memory",
    "  verdict  fresh",
    "  why      validated 12 s ago",
  ]);
});

test("the answer to a redirected URL is the redirect, whatever is cached", () => {
  const [, , answer, why] = urlLines({ ...picture, redirectsTo: "https://img.cdn.test/shop/chair.jpg" });
  assert.equal(answer, "answer   301 to https://img.cdn.test/shop/chair.jpg");
  assert.equal(why, "why      the host redirects HTTP to HTTPS (redirectToHttps)");
});

test("each verdict is reported in words; what a node of another release says is shown as it is", () => {
  const answerOf = (body: Record<string, unknown>): string | undefined =>
    urlLines(body).find((line) => line.startsWith("answer"));
  const rows: [string, RegExp][] = [
    ["miss", /not cached on this node/],
    ["stale-revalidate", /at once; the origin is asked in the background/],
    ["stale-if-error", /only if the origin fails/],
    ["expired", /too old/],
    ["of a later release", /^answer {3}of a later release$/],
  ];
  for (const [verdict, line] of rows) assert.match(answerOf({ kind: "assets", verdict }) ?? "", line, verdict);
  assert.match(
    answerOf({ ...picture, record: { meaning: { absentStatus: 404 } } }) ?? "",
    /404: there is no such picture/,
  );
  assert.deepEqual(urlLines({}), ["", "in detail:"]);
});

test("a picture is unknown that the node never asked for, or that the origin did not have", () => {
  assert.equal(unknownPicture(picture), undefined);
  assert.equal(unknownPicture({ ...picture, record: null }), "shop/chair.jpg");
  assert.equal(unknownPicture({ ...picture, record: { meaning: { absentStatus: 410 } } }), "shop/chair.jpg");
  assert.equal(unknownPicture({ kind: "assets", record: null }), undefined);
});

test("an answer that never ends is cut", () => {
  const lines = urlLines(Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, index])));
  assert.equal(lines.at(-1), "… and 500 more lines");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { createFailingUrls, failureOf, rememberFailure } from "../../../node/fetch/failing-urls.ts";

test("a failure is known for its URL and origin until its time is over", () => {
  const urls = createFailingUrls<string>();
  rememberFailure(urls, "http://a", "GET /1", "timeout", 1000);
  assert.equal(failureOf(urls, "http://a", "GET /1", 999), "timeout");
  assert.equal(failureOf(urls, "http://a", "GET /2", 0), undefined);
  assert.equal(failureOf(urls, "http://b", "GET /1", 0), undefined);
  assert.equal(failureOf(urls, "http://a", "GET /1", 1000), undefined);
  assert.equal(urls.byUrl.size, 0, "and is forgotten then");
});

test("the number of URLs is bounded; the newest stay", () => {
  const urls = createFailingUrls<number>();
  for (let count = 0; count < 20_000; count += 1) rememberFailure(urls, "http://a", `/${count}`, count, 1000);
  assert.equal(urls.byUrl.size, 10_000);
  assert.equal(failureOf(urls, "http://a", "/19999", 0), 19_999);
  assert.equal(failureOf(urls, "http://a", "/0", 0), undefined);
});

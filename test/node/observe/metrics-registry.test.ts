import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetrics } from "../../../node/observe/metrics-registry.ts";

const answered = { kind: "images", outcome: "hit", status: 200, durationMs: 1, bodyBytes: 10 } as const;

test("requests are counted by host, and past 500 hosts as `other`, like those that name none", async () => {
  const metrics = createMetrics();
  for (let number = 0; number < 600; number += 1) metrics.served({ ...answered, host: `h${number}.cdn.test` });
  metrics.served({ ...answered, host: "h0.cdn.test" });
  metrics.served({ ...answered, host: null });
  const text = await metrics.render();
  const counts = new Map(
    [...text.matchAll(/^nearcast_http_requests_total\{host="([^"]+)".*\} (\d+)$/gm)].map(([, host, count]) => [
      host,
      Number(count),
    ]),
  );
  assert.deepEqual(
    [
      counts.size,
      counts.get("h0.cdn.test"),
      counts.get("h499.cdn.test"),
      counts.get("h500.cdn.test"),
      counts.get("other"),
    ],
    [501, 2, 1, undefined, 101],
  );
});

test("a number that takes a moment to read is there whole, also when two scrape at once", async () => {
  const metrics = createMetrics();
  metrics.observe({
    name: "nearcast_late_total",
    help: "A number",
    kind: "counter",
    read: () => new Promise((resolve) => setImmediate(resolve, 7)),
  });
  for (const text of await Promise.all([metrics.render(), metrics.render()])) {
    assert.match(text, /^nearcast_late_total 7$/m);
  }
});

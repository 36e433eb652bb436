/** An origin cuts a body in the middle: its rest is asked for, and only the same bytes are taken for it. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { bodyFor } from "../../support/objects.ts";
import { startLoopbackOrigin } from "../../support/loopback-origin.ts";
import { wholeBodyOf } from "../../support/whole-body.ts";
import { startNodes } from "./fleet-of-nodes.ts";

const body = bodyFor("a", 1, 1_000_000);
const half = 500_000;

interface Rest {
  readonly status?: number;
  readonly end?: number;
  readonly total?: number | "*";
  readonly etag?: string;
}

/** A node whose origin sends half of the body, with or without its length, and then the rest as the test says. */
async function bodyWith(t: TestContext, isKnown: boolean, rest: Rest): Promise<{ bytes: Buffer; ranges: unknown[] }> {
  const { status = 206, end = body.length, total = body.length, etag = '"v1"' } = rest;
  const origin = await startLoopbackOrigin(t, ({ headers }, response) => {
    const fields = { "cache-control": "max-age=100", etag };
    if (headers.range !== undefined) {
      const range = `bytes ${half}-${end - 1}/${total}`;
      response.writeHead(status, { ...fields, "content-range": range }).end(body.subarray(half, end));
      return;
    }
    const length = isKnown ? { "content-length": String(body.length) } : {};
    response.writeHead(200, { ...fields, etag: '"v1"', ...length });
    response.write(body.subarray(0, half), () => setImmediate(() => response.destroy()));
  });
  const { nodes } = await startNodes(t, origin.url, { sites: { fra: 1 }, assetsOrigin: origin.url });
  const delivery = await (nodes[0] ?? assert.fail()).asset("/a");
  const bytes = wholeBodyOf(delivery.body);
  await bytes.catch(() => undefined);
  const ranges = origin.asked.map(({ headers }) => headers.range).filter((range) => range !== undefined);
  return { bytes: await bytes, ranges };
}

test("the rest of a body that was cut is asked for, and its reader notices nothing", async (t) => {
  for (const isKnown of [true, false]) {
    const { bytes, ranges } = await bodyWith(t, isKnown, {});
    assert(bytes.equals(body), String(isKnown));
    assert.deepEqual(ranges, [`bytes=${half}-`]);
  }
});

test("what is not the rest of the same bytes fails the body, so that nobody takes a part for the whole", async (t) => {
  const rows: Rest[] = [{ end: 600_000 }, { total: "*" }, { status: 200 }, { status: 503 }, { etag: '"v2"' }];
  for (const isKnown of [true, false]) {
    for (const rest of rows) {
      await assert.rejects(
        bodyWith(t, isKnown, rest),
        { code: "ORIGIN_BAD_ANSWER" },
        JSON.stringify({ isKnown, rest }),
      );
    }
  }
});

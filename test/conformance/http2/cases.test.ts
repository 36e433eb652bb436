/** The cases of RFC 9113 and RFC 7541, over a connection without TLS, by node:http2 and by the engine of lanes. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { Lanes } from "../../../node/front/lane/lanes.ts";
import { sharedLanes } from "../../support/shared-lanes.ts";
import { startHttp2 } from "../../node/http2/started.ts";
import type { Case, Expected } from "./case.ts";
import { connectionCases, stateCases } from "./connection-cases.ts";
import { frameCases } from "./frame-cases.ts";
import { hpackCases } from "./hpack-cases.ts";
import { requestCases } from "./request-cases.ts";
import { sectionCases, windowCases } from "./window-cases.ts";
import { deviations } from "./deviations.ts";
import { openFrames, openRaw, ping, type Raw, type } from "./frames.ts";

const cases: readonly Case[] = [
  ...connectionCases,
  ...stateCases,
  ...frameCases,
  ...windowCases,
  ...sectionCases,
  ...requestCases,
  ...hpackCases,
];

/** A PING that is sent behind the case: its answer shows that everything before it was read. */
const mark = "behind..";

/** What comes first: the end of the connection, the end of a stream, its response, or the answer to the mark. */
async function seenOf(raw: Raw, stream: number): Promise<string> {
  for (;;) {
    const seen = await raw.next(
      (one) =>
        one.type === type.goaway ||
        (one.type === type.reset && one.stream === stream) ||
        (one.type === type.headers && one.stream === stream) ||
        (one.type === type.ping && one.payload.toString() === mark),
    );
    if (seen === undefined) return "closed";
    if (seen.type === type.goaway) return `goaway ${seen.payload.readUInt32BE(4)}`;
    if (seen.type === type.reset) return `reset ${seen.payload.readUInt32BE(0)}`;
    if (seen.type === type.headers) return "response";
    return "alive";
  }
}

async function isAlive(raw: Raw): Promise<boolean> {
  raw.send(ping("alive..."));
  const pong = await raw.next((one) => one.type === type.goaway || one.payload.toString() === "alive...");
  return pong?.type === type.ping;
}

async function check(raw: Raw, expected: Expected): Promise<void> {
  if (typeof expected === "function") {
    assert.equal(await expected(raw), undefined);
    return;
  }
  if (expected === "alive") {
    raw.send(ping(mark));
    assert.equal(await seenOf(raw, -1), "alive");
  } else if ("response" in expected) {
    assert.equal(await seenOf(raw, expected.response), "response");
    assert.ok(await isAlive(raw), "the connection stays");
  } else if ("reset" in expected) {
    const { reset, stream = 1 } = expected;
    const seen = await seenOf(raw, stream);
    assert.ok(
      reset.some((one) => seen === `reset ${one}`),
      `${seen}, not reset ${reset.join(" or ")}`,
    );
    assert.ok(await isAlive(raw), "the connection stays");
  } else {
    const seen = await seenOf(raw, -1);
    const isEnd = seen === "closed" || expected.goaway.some((one) => seen === `goaway ${one}`);
    assert.ok(isEnd, `${seen}, not goaway ${expected.goaway.join(" or ")}`);
    await raw.closed();
  }
}

async function run(t: TestContext, { send, own = [], isRaw }: Case, expected: Expected, lanes?: Lanes): Promise<void> {
  const { listener } = await startHttp2(t, { lanes });
  const raw = isRaw === true ? await openRaw(t, listener) : await openFrames(t, listener, ...own);
  await send(raw);
  await check(raw, expected);
}

for (const one of cases) {
  const deviation = deviations.get(one.claim);
  const title = deviation === undefined ? one.claim : `${one.claim} (deviation: ${deviation.what})`;
  test(title, (t) => run(t, one, deviation?.expected ?? one.expected));
}

for (const one of cases) {
  test(`in a lane: ${one.claim}`, async (t) => {
    const lanes = await sharedLanes(t);
    if (lanes !== undefined) await run(t, one, one.expected, lanes);
  });
}

test("each deviation is one of a case", () => {
  const claims = new Set(cases.map(({ claim }) => claim));
  assert.equal(claims.size, cases.length, "claims are unique");
  for (const claim of deviations.keys()) assert.ok(claims.has(claim), claim);
});

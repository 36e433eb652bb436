/**
 * The same requests, in the same groups and pieces, to two edges that are alike: one is asked through a lane, which
 * sends ready responses itself, the other without a lane or a front. Their responses must be equal, and what they told
 * their metrics.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { type Random, seededRandom } from "#base/random.ts";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { ask, last, randomPieces } from "../../support/differential.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { lanesWithReady } from "../../support/shared-lanes.ts";
import type { Answer } from "../../node/http/raw.ts";
import { served as servedCertificate } from "../../node/tls/secured.ts";
import { comparable, openBoth, randomRequest, type Request, textOf } from "./corpus.ts";

/**
 * The test can't stop the time: the lifetimes of the first two end meanwhile, and what an origin's failures lead to
 * depends on the moment.
 */
const timed = ["/a", "/short", "/failing"];

/** The two edges fetched their objects at slightly different times. */
function timeless(answer: Answer): unknown {
  const fields = new Map(
    [...answer.fields].map(([name, values]): [string, readonly string[]] => {
      return [name, name === "cache-status" ? values.map((value) => value.replaceAll(/ttl=\d+/g, "ttl=N")) : values];
    }),
  );
  fields.delete("age");
  return comparable({ ...answer, fields });
}

/** Most requests come again and again: others would never be ready. */
const popularMax = 40;

function randomGroup(random: Random, popular: Request[]): Request[] {
  const count = random() < 0.7 ? 1 : 1 + Math.floor(random() * 8);
  const group: Request[] = [];
  while (group.length < count) {
    if (popular.length === popularMax && random() < 0.8) {
      group.push(popular[Math.floor(random() * popularMax)] as Request);
      continue;
    }
    const one = randomRequest(random);
    if (timed.includes(one.target)) continue;
    group.push(one);
    if (popular.length < popularMax) popular.push(one);
  }
  return [...group, last];
}

test("responses are the same through a lane and without", async (t) => {
  await compare(t);
});

test("responses over TLS are the same through a lane and without", async (t) => {
  const certificates = [servedCertificate(await certificateFor(["localhost"]))];
  await compare(t, certificates);
});

async function compare(t: TestContext, certificates?: readonly ServedCertificate[]): Promise<void> {
  const lanes = await lanesWithReady(t, certificates === undefined ? {} : { certificates });
  const others = await lanesWithReady(t);
  if (lanes === undefined || others === undefined) return;
  const seed = seedOr(2028);
  const random = seededRandom(seed);
  const [inLane, alone] = await openBoth(t, [lanes, others], certificates);
  const tls = certificates === undefined ? undefined : { servername: "localhost", ca: testAuthority.certificatePem };
  const [throughLane, without] =
    tls === undefined
      ? [inLane.listeners().fronted, alone.listeners().alone]
      : [inLane.secured().fronted, alone.secured().alone];
  const popular: Request[] = [];
  const wanted = rounds(2000, 100_000);
  for (let asked = 0; asked < wanted;) {
    const group = randomGroup(random, popular);
    asked += group.length - 1;
    const text = group.map(textOf).join("");
    const pieces = randomPieces(Buffer.from(text, "latin1"), random);
    const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(text)}`;
    const [one, other] = await Promise.all([ask(throughLane, pieces, group, tls), ask(without, pieces, group, tls)]);
    assert.deepEqual(one.map(timeless), other.map(timeless), where);
    assert.equal(one.length, group.length, where);
    await Promise.all([inLane.flushed(), alone.flushed()]);
    const [mine, theirs] = [inLane, alone].map(({ served }) =>
      served
        .slice(-group.length)
        .map(({ host, kind, outcome, status, bodyBytes }) => `${host} ${kind} ${outcome} ${status} ${bodyBytes}`)
        .toSorted(),
    );
    assert.deepEqual(mine, theirs, where);
  }
  const { answered } = lanes.lanes.counts();
  t.diagnostic(`${answered} of ${wanted} requests were answered by the lane, ${inLane.byFront()} by the front`);
  assert.ok(answered > wanted / 20, "the lane answers many of the hits");
  assert.equal(lanes.lanes.restarts(), 0);
}

/**
 * The same requests, in the same groups and pieces, to two edges that are alike: one is asked through a lane, which
 * sends ready responses itself, the other has no lane, and Fastify answers all. A front relays everything to it: Node's
 * server, where it stands alone, resets connections whose client still sends, and cuts off the response. The responses
 * must be equal, what becomes of the connection, and what both told their metrics. lane-http2-differential.test.ts does
 * the same over HTTP/2. In the long form, both together send 100,000 requests, otherwise 2 % of them.
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import type { ConnectionOptions } from "node:tls";
import { type Random, seededRandom } from "#base/random.ts";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import { certificateFor, testAuthority } from "../../support/certificates.ts";
import { ask, randomPieces, timeless } from "../../support/differential.ts";
import { rounds, seedOr } from "../../support/long.ts";
import { lanesWithReady } from "../../support/shared-lanes.ts";
import { served as servedCertificate } from "../../node/tls/secured.ts";
import { openBoth, type Request, textOf } from "./corpus.ts";
import { compareTold, randomMixed, toldCounts } from "./mixed.ts";

function randomGroup(random: Random, popular: Request[]): Request[] {
  const count = random() < 0.6 ? 1 : 1 + Math.floor(random() * 8);
  return Array.from({ length: count }, () => randomMixed(random, popular));
}

test("responses are the same through a lane and without", async (t) => {
  await compare(t, rounds(800, 40_000));
});

for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`responses over ${version} are the same through a lane and without`, async (t) => {
    const certificates = [servedCertificate(await certificateFor(["localhost"]))];
    const ca = testAuthority.certificatePem;
    const tls = { servername: "localhost", ca, minVersion: version, maxVersion: version };
    await compare(t, rounds(300, 15_000), { certificates, tls });
  });
}

async function compare(
  t: TestContext,
  wanted: number,
  secure?: { certificates: readonly ServedCertificate[]; tls: ConnectionOptions },
): Promise<void> {
  const lanes = await lanesWithReady(t, secure === undefined ? {} : { certificates: secure.certificates });
  const others = await lanesWithReady(t);
  if (lanes === undefined || others === undefined) return;
  const seed = seedOr(2028);
  const random = seededRandom(seed);
  const [inLane, alone] = await openBoth(t, [lanes, others], secure?.certificates);
  const [throughLane, without] =
    secure === undefined
      ? [inLane.listeners().fronted, alone.listeners().relayed]
      : [inLane.secured().fronted, alone.secured().alone];
  const popular: Request[] = [];
  const seen = { groups: 0, closed: 0 };
  for (let asked = 0; asked < wanted;) {
    const group = randomGroup(random, popular);
    asked += group.length;
    const text = group.map(textOf).join("");
    const pieces = randomPieces(Buffer.from(text, "latin1"), random);
    // The handshake in parts, too. Each byte in a segment of its own takes a second for a long request.
    const segmentBytes = secure !== undefined && random() < 0.1 ? 1 + Math.floor(random() * 60) : undefined;
    const where = `SEED=${seed}, request ${asked}: ${JSON.stringify(text)}`;
    const before = toldCounts([inLane, alone]);
    const options = { tls: secure?.tls, segmentBytes };
    const [one, other] = await Promise.all([
      ask(throughLane, pieces, group, options),
      ask(without, pieces, group, options),
    ]);
    assert.deepEqual(one.answers.map(timeless), other.answers.map(timeless), where);
    assert.equal(one.isOpen, other.isOpen, `the connection afterwards: ${where}`);
    assert.ok(one.answers.length === group.length || !one.isOpen, where);
    seen.groups += 1;
    if (!one.isOpen) seen.closed += 1;
    await compareTold([inLane, alone], before, where);
  }
  const { answered } = lanes.lanes.counts();
  t.diagnostic(`${answered} of ${wanted} requests were answered by the lane, ${inLane.byFront()} by the front`);
  t.diagnostic(`${seen.closed} of ${seen.groups} connections were closed`);
  assert.ok(answered > wanted / 30, "the lane answers many of the hits");
  assert.ok(seen.closed > 0 && seen.closed < seen.groups, "some connections stay open, others do not");
  assert.equal(lanes.lanes.restarts(), 0);
}

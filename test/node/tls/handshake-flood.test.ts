/** A flood of full handshakes, from one network and from many: established connections are served meanwhile. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { certificateFor } from "../../support/certificates.ts";
import { startHandshakes, timeHits } from "../../support/tls-crowd.ts";
import { served, startSecured, testBoth } from "./secured.ts";

/** Two cores may be shared with the clients and with others. */
const mostMs = { "the main thread": 1000, "a lane": 300 } as const;
const name = "a.example";
const certificates = [served(await certificateFor([name]))];

testBoth("hits on established connections go on during a flood of full handshakes", async (t, through) => {
  const { listener } = await startSecured(t, certificates, { through });
  const { port } = listener;
  const hits = { port, name, from: 200, networks: 4, clients: 4, target: "/hit" };
  const alone = await timeHits(t, hits, () => sleep(1500));
  t.diagnostic(`alone: ${told(alone)}`);
  for (const networks of [1, 50]) {
    const floods = [1, 2].map(() => startHandshakes(t, { port, name, networks, clients: 100 }));
    const during = await timeHits(t, hits, () => sleep(2000));
    const done = floods.reduce((sum, flood) => sum + flood.done(), 0);
    for (const flood of floods) await flood.stop();
    t.diagnostic(`${networks} networks, ${done} handshakes: ${told(during)}`);
    assert.ok(done > 100, `only ${done} handshakes`);
    assert.equal(during.failures, 0);
    assert.ok(during.p99Ms < mostMs[through], `p99 of hits ${during.p99Ms.toFixed(1)} ms with ${networks} networks`);
  }
});

function told({ requests, p50Ms, p99Ms, mostMs: most }: Awaited<ReturnType<typeof timeHits>>): string {
  return `${requests} hits, p50 ${p50Ms.toFixed(1)}, p99 ${p99Ms.toFixed(1)}, most ${most.toFixed(1)} ms`;
}

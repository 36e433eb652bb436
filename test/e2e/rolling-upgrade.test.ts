/**
 * A site is upgraded one node at a time, as `systemctl restart` does it: SIGTERM, the end of the drain, a new start.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { startStream } from "../support/stream.ts";
import { startWorld, until } from "../support/world.ts";

const name = "img.cdn.test";

test("both nodes of a site are restarted one after the other under a stream of requests: none fails", async (t) => {
  const world = await startWorld(t, ["fra"], {
    nodesPerSite: 2,
    // A probe's time, the answer's TTL, and some for the machine.
    edge: { drainMs: 5000 },
    fleet: { steering: [{ name, policy: "geo", ttlSeconds: 1 }] },
    hasOwnAddresses: true,
  });
  const { edges } = world;
  await world.api("PUT", "/images/a.jpg", await photograph(1, { width: 200, height: 150 }));
  const named = async (by: (typeof edges)[number]): Promise<string> =>
    (await ask(by.dns, name)).addresses.toSorted().join();
  const all = edges
    .map(({ address }) => address)
    .toSorted()
    .join();
  for (const edge of edges) await until(`${edge.name} names both`, async () => (await named(edge)) === all);
  const resolvers = edges.map(({ dns }) => dns);
  const stream = startStream({ host: name, path: "/a.jpg?w=100&fm=webp", perSecond: 500, resolvers });
  t.after(stream.stop);
  await until("the stream flows", async () => stream.counts().answered > 100);

  for (const edge of edges) {
    const other = edges.find((one) => one !== edge);
    assert.ok(other !== undefined);
    const { pid } = edge.program();
    process.kill(pid, "SIGTERM");
    await until("it is not ready from the first moment", async () => !(await fetch(`${edge.adminUrl}/readyz`)).ok);
    await until("DNS names the other alone", async () => (await named(other)) === other.address);
    await until("it has ended", async () => edge.program().status() === 0);
    const before = stream.byAddress().get(other.address) ?? 0;
    await until("the other serves all", async () => (stream.byAddress().get(other.address) ?? 0) > before + 100);
    await edge.start();
    for (const one of edges) await until(`${one.name} names both`, async () => (await named(one)) === all);
    const again = stream.byAddress().get(edge.address) ?? 0;
    await until("it serves again", async () => (stream.byAddress().get(edge.address) ?? 0) > again + 50);
  }
  await stream.stop();
  const { answered, failures, seconds } = stream.counts();
  t.diagnostic(`${answered} requests in ${seconds.toFixed(1)} s`);
  assert.deepEqual(failures, []);
});

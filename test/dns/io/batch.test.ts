import { systemClock } from "#base/clock.ts";
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { readStats } from "../../../dns/counters.ts";
import { isBatchAvailable } from "#base/system-calls.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import { keptLog } from "../../support/kept-log.ts";
import { needs } from "../../support/needs.ts";
import { queryOf } from "../support/ask.ts";
import { serveBatch } from "./batch-served.ts";
import { askOne, clientSocket, flood, lastOctet, snapshotOf, udpSuite } from "./udp-suite.ts";

const available = isBatchAvailable();
const reason = available.ok ? "" : available.reason;
const loopback = [{ host: "127.0.0.1", port: 0 }];

if (available.ok) {
  udpSuite("batch", (addresses) => serveBatch(addresses, 1));
}

test("the batch path is there, so that the suite runs on it", (t) => {
  needs(t, available.ok, reason);
});

test("threads share an address: many clients are spread over them, and all are answered", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const served = await serveBatch(loopback, 3);
  t.after(served.close);
  served.publish(snapshotOf(1));
  // That one of three threads gets none of 64 clients has a chance of 3 × (2/3)^64, some 2 in 100,000,000,000.
  const sockets = await Promise.all(Array.from({ length: 64 }, () => clientSocket(t, "127.0.0.1")));
  await flood(sockets, served.addresses[0] as ListenAddress, {
    stats: served.stats,
    total: 2000,
    window: 100,
    query: (id) => queryOf({ id, name: "version.cdn.test" }),
    check(answer) {
      assert.equal(lastOctet(answer), 1);
    },
  });
  const answered = served.batch.counters.map((counters) => readStats([counters]).outcomes.udp.noerror);
  assert.ok(Math.min(...answered) > 0, answered.join());
  assert.equal(served.stats().outcomes.udp.noerror, 2000);
  assert.ok(served.stats().batches > 0 && served.stats().batches <= 2000);
});

test("nobody can take a share of a single thread's port", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const served = await serveBatch(loopback, 1);
  t.after(served.close);
  const stranger = createSocket({ type: "udp4", reusePort: true });
  t.after(() => stranger.close());
  stranger.bind(served.addresses[0]?.port, "127.0.0.1");
  const [error] = (await once(stranger, "error")) as [NodeJS.ErrnoException];
  assert.equal(error.code, "EADDRINUSE");
});

test("of several addresses none stays bound when one is refused, and the error names it", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const other = await clientSocket(t, "127.0.0.1");
  const taken = { host: "127.0.0.1", port: other.address().port };
  const free = { host: "127.0.0.3", port: taken.port };
  await assert.rejects(serveBatch([free, taken], 2), {
    code: "CANNOT_LISTEN",
    message: `can't listen for DNS over UDP on 127.0.0.1 port ${taken.port}: the address is in use`,
  });
  const served = await serveBatch([free], 2);
  t.after(served.close);
  assert.deepEqual(served.addresses, [free]);
});

test("addresses that are not there yet can be bound; what is no address can't", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  // IP_FREEBIND: 192.0.2.0/24 belongs to nobody.
  const served = await serveBatch([{ host: "192.0.2.99", port: 0 }], 1);
  t.after(served.close);
  assert.notEqual(served.addresses[0]?.port, 0);
  await assert.rejects(serveBatch([{ host: "localhost", port: 0 }], 1), /localhost is not an IP address/);
  await assert.rejects(serveBatch([{ host: "::ffff:127.0.0.1", port: 0 }], 1), /write the IPv4 address itself/);
  await assert.rejects(serveBatch([{ host: "fe80::1%nowhere0", port: 0 }], 1), /no interface nowhere0/);
  const many = Array.from({ length: 65 }, () => ({ host: "127.0.0.1", port: 0 }));
  await assert.rejects(serveBatch(many, 1), /dns\.addresses must not have more than 64 entries \(got 65\)/);
});

for (const threads of [1, 2]) {
  test(`one of ${threads} that dies is started anew, with port, snapshot and counters`, async (t) => {
    if (!needs(t, available.ok, reason)) return;
    const { log, lines } = keptLog();
    // The first delay of a second is over soon.
    const delays: number[] = [];
    const clock = {
      ...systemClock,
      after(delayMs: number, action: () => void) {
        delays.push(delayMs);
        return systemClock.after(delayMs === 1000 ? 50 : delayMs, action);
      },
    };
    const served = await serveBatch(loopback, threads, { clock, log });
    t.after(served.close);
    const to = served.addresses[0] as ListenAddress;
    const socket = await clientSocket(t, "127.0.0.1");
    served.publish(snapshotOf(1));
    assert.equal(lastOctet(await askOne(socket, to, queryOf({ id: 1, name: "version.cdn.test" }))), 1);

    // A secret of 3 octets is refused by throwing, which nothing in the thread expects.
    served.batch.setSecrets([new Uint8Array(3)]);
    const deadline = systemClock.monotonicMs() + 15_000;
    const died = (): number => lines.filter(({ message }) => message.includes("died")).length;
    while (died() < threads && systemClock.monotonicMs() < deadline) await pause(20);
    served.batch.setSecrets([new Uint8Array(16)]);
    served.publish(snapshotOf(2));
    const before = died();
    assert.ok(before >= threads, lines.map(({ message }) => message).join());
    // Asks until the answer comes: nobody may have the port for a moment.
    let got: number | undefined;
    while (got === undefined && systemClock.monotonicMs() < deadline) {
      const answer = once(socket, "message", { signal: AbortSignal.timeout(200) }) as Promise<[Buffer]>;
      socket.send(queryOf({ id: 2, name: "version.cdn.test" }), to.port, to.host);
      got = await answer.then(
        ([bytes]) => lastOctet(bytes),
        () => undefined,
      );
    }
    assert.equal(got, 2);
    assert.ok(served.batch.restarts() >= 1);
    assert.ok(delays.includes(1000));
    assert.ok(served.stats().outcomes.udp.noerror >= 2, "the counters go on");
    assert.ok(lines.some(({ level, facts }) => level === "error" && /3 octets/.test(String(facts["err"]))));
  });
}

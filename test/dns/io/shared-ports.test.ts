/**
 * Ports that several processes bind (SO_REUSEPORT): here several carriers of one process, which the kernel treats
 * alike.
 */
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { readStats, type DnsStats } from "../../../dns/counters.ts";
import { isBatchAvailable } from "#base/system-calls.ts";
import type { ListenAddress } from "../../../dns/io/transport.ts";
import type { Dns } from "../../../dns/start.ts";
import { needs } from "../../support/needs.ts";
import { queryOf, readAnswer } from "../support/ask.ts";
import { askUdp, framed, inputsOf, openTcp, running } from "../support/sockets.ts";
import { serveBatch } from "./batch-served.ts";
import { clientSocket, flood, lastOctet, snapshotOf } from "./udp-suite.ts";

const available = isBatchAvailable();
const reason = available.ok ? "" : available.reason;

/** An address of this test's own, so that nobody else can have the port. */
function ownAddress(): ListenAddress {
  const octet = (): number => 1 + Math.floor(Math.random() * 250);
  return { host: `127.${octet()}.${octet()}.1`, port: 5300 };
}

async function floodAll(t: TestContext, to: ListenAddress, stats: () => DnsStats, total: number): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: 64 }, () => clientSocket(t, "127.0.0.1")));
  await flood(sockets, to, {
    stats,
    total,
    window: 100,
    query: (id) => queryOf({ id, name: "version.cdn.test" }),
    check(answer) {
      assert.equal(lastOctet(answer), 1);
    },
  });
}

test("carriers that share a port answer a part of the clients each; one that is closed leaves no gap", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const address = ownAddress();
  const open = async (threads: number) => {
    const served = await serveBatch([address], threads, { sharesPorts: true, snapshot: snapshotOf(1) });
    t.after(served.close);
    return served;
  };
  const [one, two] = [await open(1), await open(2)];
  const sum = (): number => one.stats().outcomes.udp.noerror + two.stats().outcomes.udp.noerror;
  await floodAll(t, address, one.stats, 2000);
  assert.ok(one.stats().outcomes.udp.noerror > 0);
  for (const counters of two.batch.counters) assert.ok(readStats([counters]).outcomes.udp.noerror > 0);
  assert.equal(sum(), 2000, "with a snapshot from the start nobody was told SERVFAIL");

  await one.close();
  await floodAll(t, address, two.stats, 500);
  assert.equal(sum(), 2500);
  const three = await open(1);
  await floodAll(t, address, three.stats, 1000);
  assert.ok(three.stats().outcomes.udp.noerror > 0);
});

test("who does not share his port keeps it from those that would, and the other way round", async (t) => {
  if (!needs(t, available.ok, reason)) return;
  const [mine, shared] = [ownAddress(), ownAddress()];
  const alone = await serveBatch([mine], 1);
  t.after(alone.close);
  await assert.rejects(serveBatch([mine], 1, { sharesPorts: true }), /the address is in use/);
  const sharing = await serveBatch([shared], 1, { sharesPorts: true });
  t.after(sharing.close);
  await assert.rejects(serveBatch([shared], 1), /the address is in use/);
});

for (const threads of available.ok ? [0, 1] : [0]) {
  const name = threads === 0 ? "dgram" : "batch";

  test(`a responder on shared ports binds them when it can answer, UDP and TCP (${name})`, async (t) => {
    const address = ownAddress();
    const options = { addresses: [address], threads, sharesPorts: true };
    const { dns: first } = await running(t, options, "not yet");
    assert.deepEqual(first.addresses(), []);
    // Nobody has the port yet, so that it can be had alone.
    const { dns: stranger } = await running(t, { addresses: [address], threads });
    assert.deepEqual(stranger.addresses(), [address]);
    await stranger.close();

    await first.update(inputsOf());
    assert.deepEqual(first.addresses(), [address]);
    const { dns: second } = await running(t, options);
    const answered = ({ stats }: Dns): number => stats().outcomes.udp.noerror;
    // The clients' ports are of the kernel's choice: with 200 of them, that one gets none has a chance of 2 × 2^-200.
    for (let client = 0; client < 200; client++) {
      assert.equal(readAnswer(await askUdp(address.port, queryOf({}), address.host)).rcode, 0);
    }
    assert.ok(answered(first) > 0 && answered(second) > 0);
    assert.equal(answered(first) + answered(second), 200);

    for (let client = 0; client < 64; client++) {
      const tcp = await openTcp(t, address.port, address.host);
      tcp.socket.write(framed(queryOf({})));
      assert.equal(readAnswer(await tcp.next()).rcode, 0);
      tcp.socket.destroy();
    }
    const overTcp = [first, second].map(({ stats }) => stats().outcomes.tcp.noerror);
    assert.ok(Math.min(...overTcp) > 0, overTcp.join());

    const before = answered(second);
    await first.close();
    for (let client = 0; client < 50; client++) {
      assert.equal(readAnswer(await askUdp(address.port, queryOf({}), address.host)).rcode, 0);
    }
    assert.equal(answered(second) - before, 50);
  });

  test(`shared ports that can't be had are the failure of the first update (${name})`, async (t) => {
    const address = ownAddress();
    await running(t, { addresses: [address], threads });
    const { dns } = await running(t, { addresses: [address], threads, sharesPorts: true }, "not yet");
    await assert.rejects(dns.update(inputsOf()), { code: "CANNOT_LISTEN" });
    await assert.rejects(dns.update(inputsOf()), { code: "CANNOT_LISTEN" });
  });
}

test("a responder that is closed while it binds leaves nothing bound", async (t) => {
  const address = ownAddress();
  const options = { addresses: [address], threads: available.ok ? 2 : 0, log: silentLog, clock: systemClock };
  const { dns } = await running(t, { ...options, sharesPorts: true }, "not yet");
  const updated = dns.update(inputsOf());
  await Promise.all([dns.close(), updated.catch(() => undefined)]);
  const { dns: next } = await running(t, options);
  assert.deepEqual(next.addresses(), [address]);
});

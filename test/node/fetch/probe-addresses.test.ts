import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { systemClock } from "#base/clock.ts";
import { openProbeAddresses } from "../../../node/fetch/probe-addresses.ts";
import { fakeClock } from "../../support/fake-clock.ts";

test("addresses are themselves; names are looked up once for a while, and the old one serves meanwhile", async () => {
  const clock = fakeClock();
  const asked: string[] = [];
  let address = "192.0.2.1";
  const addresses = openProbeAddresses(clock, async (name) => {
    asked.push(name);
    return address;
  });
  for (const literal of ["192.0.2.7", "127.0.0.1", "2001:db8::1", "[2001:db8::1]"]) {
    assert.equal(await addresses.of(literal, 1000), literal.replace(/[[\]]/g, ""));
  }
  assert.equal(await addresses.of("node.example", 1000), "192.0.2.1");
  assert.equal(addresses.last("node.example"), "192.0.2.1");
  address = "192.0.2.2";
  assert.equal(await addresses.of("node.example", 1000), "192.0.2.1");
  assert.deepEqual(asked, ["node.example"]);
  clock.advance(5001);
  assert.equal(await addresses.of("node.example", 1000), "192.0.2.1", "nobody waits");
  await turn();
  assert.equal(await addresses.of("node.example", 1000), "192.0.2.2");
  assert.equal(asked.length, 2);
});

test("256 slow names at once are looked up, each once, and a probe waits no longer than its time", async () => {
  const release = Promise.withResolvers<string>();
  const asked: string[] = [];
  const addresses = openProbeAddresses(fakeClock(), (name) => {
    asked.push(name);
    return release.promise;
  });
  const names = Array.from({ length: 257 }, (_, index) => `n${index}.test`);
  const tries = [...names, "n0.test"].map((name) => addresses.of(name, 50));
  for (const result of await Promise.allSettled(tries)) {
    assert(result.status === "rejected");
    assert.match(String(result.reason), /was not looked up in time/);
  }
  assert.deepEqual(asked, names.slice(0, 256));
  release.resolve("192.0.2.1");
  assert.equal(await addresses.of("n256.test", 10_000), "192.0.2.1");
});

test("a name that fails is asked again after 1 s; one without an answer keeps its address for 30 s", async () => {
  const clock = fakeClock();
  let asked = 0;
  let tookMs = 0;
  let address: string | undefined;
  const addresses = openProbeAddresses(clock, async () => {
    asked += 1;
    clock.advance(tookMs);
    if (address === undefined) throw new Error("nothing");
    return address;
  });
  const after = async (passMs: number): Promise<string> => {
    clock.advance(passMs);
    await addresses.of("node.example", 1000).catch(() => undefined); // looked up behind
    await turn();
    return await addresses.of("node.example", 1000).catch((error: Error) => error.message);
  };
  assert.equal(await after(0), "nothing");
  address = "192.0.2.1";
  assert.equal(await after(1001), "192.0.2.1");
  address = undefined;
  tookMs = 3000;
  assert.equal(await after(5001), "192.0.2.1");
  assert.equal(asked, 3);
  assert.equal(await after(29_000), "192.0.2.1");
  assert.equal(asked, 3, "it is let rest");
  tookMs = 0;
  assert.equal(await after(2000), "nothing", "a name that is gone is gone");
});

test("where no other machine is, nobody is probed, in whatever form the address is written", async () => {
  const addresses = openProbeAddresses(systemClock);
  for (const literal of ["169.254.169.254", "[64:ff9b::a9fe:a9fe]", "[::ffff:a9fe:a9fe]", "[2002:a9fe:a9fe::1]"]) {
    await assert.rejects(addresses.of(literal, 1000), /can't be the address of another machine$/, literal);
  }
});

test("a name of this machine alone is no node's; localhost is what it says", async () => {
  const addresses = openProbeAddresses(systemClock);
  assert.match(await addresses.of("localhost", 10_000), /^(?:127\.0\.0\.1|::1)$/);
  // getaddrinfo takes old spellings of an address for names. It is asked unless this machine's DNS is silent.
  await assert.rejects(
    addresses.of("127.1", 10_000),
    /resolves to 127\.0\.0\.1, which can't be the address of another machine|queryA ETIMEOUT/,
  );
  assert.equal(addresses.last("127.1"), undefined);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { clientNetworkOf, readClientNetwork } from "#base/client-network.ts";

test("a client's network is its /24 or /56, however its address is written", () => {
  const rows: [address: string | undefined, network: string][] = [
    ["192.0.2.77", "192.0.2.0/24"],
    ["::ffff:192.0.2.77", "192.0.2.0/24"],
    ["::ffff:c000:24d", "192.0.2.0/24"],
    ["64:ff9b::192.0.2.77", "192.0.2.0/24"],
    ["2002:c000:24d::1", "192.0.2.0/24"],
    ["2001:db8:1:2ff::1", "2001:db8:1:200::/56"],
    ["2001:DB8:1:0200:0:0:0:9", "2001:db8:1:200::/56"],
    ["2001:db8::1", "2001:db8::/56"],
    ["fe80::1%eth0", "fe80::/56"],
    ["::1", "::/56"],
    ["127.0.0.1", "127.0.0.0/24"],
    ["", "unknown"],
    ["example.com", "unknown"],
    [undefined, "unknown"],
  ];
  for (const [address, network] of rows) assert.equal(clientNetworkOf(address), network, String(address));
});

test("a network is read back in the one form in which it is written", () => {
  for (const text of ["192.0.2.0/24", "2001:db8:1:200::/56", "2001:db8::/56", "::/56"]) {
    assert.equal(readClientNetwork(text), text);
  }
  const bad = ["", "unknown", "192.0.2.1/24", "192.0.2.0/25", "192.0.2.0", "2001:db8:1:2ff::/56", "2001:DB8::/56"];
  for (const text of [...bad, "2001:db8::/64", "/24", "192.0.2.0/24/24", "::ffff:192.0.2.0/24", "x".repeat(10_000)]) {
    assert.equal(readClientNetwork(text), undefined, text.slice(0, 40));
  }
});

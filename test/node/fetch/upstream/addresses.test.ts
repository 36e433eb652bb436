import assert from "node:assert/strict";
import { test } from "node:test";
import { allowedAddresses, isAllowed, publicExcept } from "../../../../node/fetch/upstream/addresses.ts";

test("public addresses are allowed, all others only where a network is listed", () => {
  const rows: [privateNetworks: string[], address: string, isAllowed: boolean][] = [
    [[], "93.184.216.34", true],
    [[], "2606:2800:220:1:248:1893:25c8:1946", true],
    [[], "10.1.2.3", false],
    [[], "127.0.0.1", false],
    [[], "100.64.0.1", false],
    [[], "192.0.2.1", false],
    [[], "0.0.0.0", false],
    [[], "255.255.255.255", false],
    [[], "fd00::1", false],
    [[], "fe80::1%eth0", false],
    [[], "::1", false],
    [[], "2001:db8::1", false],
    [[], "::ffff:10.1.2.3", false],
    [[], "::ffff:93.184.216.34", true],
    [[], "64:ff9b::10.1.2.3", false],
    [[], "64:ff9b::93.184.216.34", true],
    [[], "2002:0a01:0203::1", false],
    [["10.0.0.0/8"], "10.1.2.3", true],
    [["10.0.0.0/8"], "11.1.2.3", true],
    [["10.0.0.0/8"], "::ffff:10.1.2.3", true],
    [["10.0.0.0/8"], "64:ff9b::10.1.2.3", true],
    [["10.0.0.0/8"], "192.168.0.1", false],
    [["10.0.0.0/16"], "10.1.2.3", false],
    [["fd00::/8", "127.0.0.1/32"], "fd12::1", true],
    [["fd00::/8", "127.0.0.1/32"], "127.0.0.1", true],
    [["fd00::/8", "127.0.0.1/32"], "127.0.0.2", false],
  ];
  for (const [networks, address, isOk] of rows) {
    assert.equal(isAllowed(publicExcept(networks), address), isOk, `${address} with ${networks.join(", ")}`);
    assert.equal(isAllowed({ kind: "any" }, address), true);
  }
});

test("an address in a URL needs no look-up, and is checked like one", async () => {
  assert.deepEqual(await allowedAddresses("127.0.0.1", { kind: "any" }), ["127.0.0.1"]);
  await assert.rejects(allowedAddresses("127.0.0.1", publicExcept([])), { code: "ORIGIN_NOT_ALLOWED" });
  await assert.rejects(allowedAddresses("no-such-host.invalid", { kind: "any" }));
});

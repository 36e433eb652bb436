/** Addresses that lead to another one, and what is judged by it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { embeddedIpv4 } from "#base/embedded-ipv4.ts";
import { isIn, leadsInto, loopback, networkOf, unreachable } from "#base/networks.ts";

/** Each form of RFC 4291, 2765, 6052, 8215, 3056 and 4380, with 169.254.169.254 and 127.0.0.1 inside. */
const disguises: readonly (readonly [what: string, linkLocal: string, own: string])[] = [
  ["mapped", "::ffff:169.254.169.254", "::ffff:7f00:1"],
  ["mapped, in full", "0:0:0:0:0:FFFF:A9FE:A9FE", "0000:0000:0000:0000:0000:ffff:127.0.0.1"],
  ["compatible", "::a9fe:a9fe", "::127.0.0.1"],
  ["translated", "::ffff:0:a9fe:a9fe", "::ffff:0:7f00:1"],
  ["NAT64", "64:ff9b::a9fe:a9fe", "64:ff9b::127.0.0.1"],
  ["local NAT64, /96", "64:ff9b:1::a9fe:a9fe", "64:ff9b:1::7f00:1"],
  ["local NAT64, /96 in a subnet", "64:ff9b:1:7:8:9:a9fe:a9fe", "64:ff9b:1:7::7f00:1"],
  ["local NAT64, /64", "64:ff9b:1:abcd:a9:fea9:fe00:0", "64:ff9b:1:abcd:7f:0:100:0"],
  ["local NAT64, /56", "64:ff9b:1:aba9:fe:a9fe::", "64:ff9b:1:ab7f:0:1::"],
  ["local NAT64, /48", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:7f00:0:100::"],
  ["6to4", "2002:a9fe:a9fe::1", "2002:7f00:1:ffff::"],
  ["Teredo, client", "2001:0:5db8:d822:8000:63bf:5601:5601", "2001::5db8:d822:8000:63bf:80ff:fffe"],
  ["Teredo, server", "2001:0:a9fe:a9fe:8000:63bf:3fff:fdfe", "2001:0:7f00:1:8000:63bf:3fff:fdfe"],
];

test("an address is judged by the IPv4 address inside it, whatever its form", () => {
  for (const [what, linkLocal, own] of disguises) {
    assert.ok(embeddedIpv4(linkLocal).includes("169.254.169.254"), `${what}: ${embeddedIpv4(linkLocal).join(" ")}`);
    assert.ok(embeddedIpv4(own).includes("127.0.0.1"), `${what}: ${embeddedIpv4(own).join(" ")}`);
    assert.ok(leadsInto(unreachable, linkLocal), what);
    assert.ok(leadsInto(loopback, own), what);
  }
});

test("good addresses stay good: plain ones, and those with a good one inside", () => {
  const good =
    "192.0.2.1 10.0.0.1 2001:db8::1 2001:db8::7f00:1 fd00::a9fe:a9fe 2a02:a9fe:a9fe::1 ::ffff:192.0.2.1 " +
    "64:ff9b::c000:201 64:ff9b:1::a00:1 64:ff9b:1:a00:0:100:: 2002:c000:201::1 64:ff9b:2::a9fe:a9fe " +
    "2001:0:5db8:d822:8000:63bf:3fff:fdfe node.example";
  for (const address of ["", ...good.split(" ")]) {
    assert.equal(leadsInto(unreachable, address), false, address);
    assert.equal(leadsInto(loopback, address), false, address);
  }
  for (const address of ["::", "fe80::1%eth0", "ff02::1"]) assert.ok(leadsInto(unreachable, address), address);
  assert.ok(leadsInto(loopback, "::1"));
  assert.equal(leadsInto(unreachable, "::1"), false);
});

test("a client is not taken for one of this machine by an address that it made up", () => {
  for (const address of ["2002:7f00:1::", "64:ff9b::7f00:1", "::7f00:1", "2001::5db8:d822:8000:63bf:80ff:fffe"]) {
    assert.equal(isIn(loopback, address), false, address);
  }
  assert.ok(isIn(loopback, "::ffff:127.0.0.1"), "a socket for both families writes IPv4 clients so");
});

test("an IPv6 customer counts as one, an IPv4 address too, however they are written", () => {
  const rows: [string, string][] = [
    ["192.0.2.7", "192.0.2.7"],
    ["::ffff:192.0.2.7", "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8:1:2::9", "2001:db8:1:2"],
    ["2001:db8::9", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["::FFFF:C000:207", "192.0.2.7"],
    ["64:ff9b::192.0.2.7", "192.0.2.7"],
    ["2002:c000:207:1::1", "192.0.2.7"],
    ["2002:c000:207:2::1", "192.0.2.7"],
    ["2001:0DB8:1:2::", "2001:db8:1:2"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["", ""],
    ["node.example", "node.example"],
  ];
  for (const [address, network] of rows) assert.equal(networkOf(address), network, address);
});

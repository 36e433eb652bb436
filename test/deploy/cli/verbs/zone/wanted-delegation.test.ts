/** What a zone needs at its parent, from the fleet document. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { delegationOf, recordLines } from "../../../../../deploy/cli/verbs/zone/wanted-delegation.ts";
import { testFleet } from "../../../../dns/support/fleet.ts";

function delegation(zone: string): ReturnType<typeof delegationOf> {
  const [first] = testFleet({ zones: `zones:\n${zone}`, steering: "" }).zones;
  assert.ok(first !== undefined);
  return delegationOf(first);
}

test("names inside the zone have glue, others do not", () => {
  const wanted = delegation(`
  - name: CDN.example.com
    nameservers:
      - {name: ns1, addresses: [192.0.2.1, "2001:db8::1"]}
      - {name: ns.example.net., addresses: []}
`);
  assert.deepEqual(recordLines(wanted), [
    "cdn.example.com.      NS    ns1.cdn.example.com.",
    "cdn.example.com.      NS    ns.example.net.",
    "ns1.cdn.example.com.  A     192.0.2.1",
    "ns1.cdn.example.com.  AAAA  2001:db8::1",
  ]);
});

test("a zone that is a file has its nameservers and their addresses from its records", () => {
  const wanted = delegation(`
  - name: example.org
    text: |
      @ 3600 IN SOA ns1 hostmaster 1 7200 3600 1209600 300
      @ NS ns1
      @ NS ns2.example.net.
      ns1 A 192.0.2.7
      sub NS ns.sub
      ns.sub A 192.0.2.9
`);
  assert.deepEqual(recordLines(wanted), [
    "example.org.      NS    ns1.example.org.",
    "example.org.      NS    ns2.example.net.",
    "ns1.example.org.  A     192.0.2.7",
  ]);
});

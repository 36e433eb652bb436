/** ALIAS: a name whose A and AAAA are those of another one, at the apex too. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseIp } from "../../../dns/wire/address.ts";
import { bench, octetGeo, testFleet } from "../support/fleet.ts";

const zones = `
zones:
  - name: cdn.test
    ttlSeconds: 300
    negativeTtlSeconds: 60
    nameservers: [{name: ns1, addresses: [192.0.2.1]}]
    records:
      - {name: "@", type: ALIAS, target: img}
      - {name: "@", type: MX, preference: 10, exchange: mail}
      - {name: short, type: ALIAS, target: img, ttlSeconds: 7}
      - {name: mail, type: A, address: 192.0.2.25, ttlSeconds: 600}
      - {name: mail, type: A, address: 192.0.2.26, ttlSeconds: 600}
      - {name: mail, type: AAAA, address: "2001:db8::25", ttlSeconds: 50}
      - {name: static, type: ALIAS, target: mail, ttlSeconds: 100}
      - {name: chain, type: ALIAS, target: through}
      - {name: through, type: CNAME, target: static, ttlSeconds: 90}
      - {name: by-dname, type: ALIAS, target: mail.moved}
      - {name: moved, type: DNAME, target: "@", ttlSeconds: 80}
      - {name: by-wildcard, type: ALIAS, target: x.wild}
      - {name: "*.wild", type: A, address: 192.0.2.50}
      - {name: "*.everything", type: ALIAS, target: img}
      - {name: other-zone, type: ALIAS, target: host.other.test.}
  - name: other.test
    nameservers: [{name: ns1.cdn.test., addresses: []}]
    records:
      - {name: "@", type: ALIAS, target: img.cdn.test.}
      - {name: host, type: A, address: 192.0.2.80}
`;
const steering = `
steering:
  - {name: img.cdn.test, policy: geo, ttlSeconds: 30}
`;
const { ask, problems } = bench({ fleet: testFleet({ zones, steering }), geo: octetGeo });

test("a steered target: the owner's addresses are chosen per client, with its scope", () => {
  assert.deepEqual(problems, []);
  for (const name of ["cdn.test", "x.everything.cdn.test", "other.test"]) {
    const { answers, subnet, flags } = ask({ name, subnet: "3.3.3.0/24" });
    assert.deepEqual([flags, answers], ["qr aa", [`${name} 30 A 127.0.3.1`]], name);
    assert.equal(subnet, ask({ subnet: "3.3.3.0/24" }).subnet, name);
    assert.deepEqual(ask({ name, type: "AAAA", subnet: "3.3.3.0/24" }).answers, [`${name} 30 AAAA 2001:db8:3::1`]);
  }
  const from = { address: parseIp("2.0.0.1") ?? assert.fail() };
  assert.deepEqual(
    ask({ name: "cdn.test" }, from).answers.toSorted(),
    ["127.0.2.1", "127.0.2.2"].map((address) => `cdn.test 30 A ${address}`),
  );
  assert.equal(ask({ name: "cdn.test", type: "AAAA" }, from).authorities.length, 1, "nyc has no IPv6 address");
});

test("its TTL is a ceiling for the steered one", () => {
  assert.deepEqual(ask({ name: "short.cdn.test", subnet: "3.3.3.0/24" }).answers, ["short.cdn.test 7 A 127.0.3.1"]);
});

test("other types of the owner stay its own", () => {
  assert.deepEqual(ask({ name: "cdn.test", type: "MX" }).answers, ["cdn.test 300 MX 10 mail.cdn.test"]);
  assert.deepEqual(ask({ name: "cdn.test", type: "ANY" }).answers, ["cdn.test 300 HINFO RFC8482 "]);
  assert.equal(ask({ name: "static.cdn.test", type: "MX" }).rcode, 0);
  assert.equal(ask({ name: "static.cdn.test", type: "CNAME" }).answers.length, 0, "it is no CNAME");
});

test("a static target: its RRsets, at the least TTL on the way", () => {
  const of = (name: string, type = "A"): readonly string[] =>
    ask({ name: `${name}.cdn.test`, type }).answers.map((text) => text.split(" ").slice(1).join(" "));
  assert.deepEqual(of("static"), ["100 A 192.0.2.25", "100 A 192.0.2.26"]);
  assert.deepEqual(of("static", "AAAA"), ["50 AAAA 2001:db8::25"]);
  assert.deepEqual(of("chain"), ["90 A 192.0.2.25", "90 A 192.0.2.26"], "through a CNAME and another ALIAS");
  assert.deepEqual(of("by-dname"), ["80 A 192.0.2.25", "80 A 192.0.2.26"]);
  assert.deepEqual(of("by-wildcard"), ["300 A 192.0.2.50"]);
  assert.deepEqual(of("other-zone"), ["300 A 192.0.2.80"]);
});

test("one address family is enough; of the other there is none", () => {
  const { rcode, answers, authorities } = ask({ name: "by-wildcard.cdn.test", type: "AAAA" });
  assert.deepEqual([rcode, answers.length, authorities.length], [0, 0, 1]);
});

test("loops and targets elsewhere are reported; the name is there without addresses", () => {
  const looping = testFleet({ steering: "" });
  const zone = looping.zones[0];
  assert.ok(zone);
  const alias = (name: string, target: string) => ({ name, type: "ALIAS", target }) as const;
  const records = [alias("l1", "l2"), alias("l2", "l1"), alias("away", "www.example.net."), alias("d", "host.child")];
  const loops = bench({ fleet: { ...looping, zones: [{ ...zone, records: [...zone.records, ...records] }] } });
  assert.equal(loops.problems.length, 4, loops.problems.join("\n"));
  for (const name of ["l1", "l2", "away"]) assert.equal(loops.ask({ name: `${name}.cdn.test` }).rcode, 0, name);
});

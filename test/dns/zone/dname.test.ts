/** DNAME (RFC 6672): all names below one name are the names below another. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { queryOf, readAnswer } from "../support/ask.ts";
import { bench, testFleet, zoneText } from "../support/fleet.ts";

const label63 = "x".repeat(63);
const records = `
      - {name: old, type: DNAME, target: new, ttlSeconds: 77}
      - {name: old, type: TXT, text: [at the owner]}
      - {name: host.new, type: A, address: 192.0.2.1}
      - {name: deep.host.new, type: A, address: 192.0.2.2}
      - {name: alias.new, type: CNAME, target: host.old}
      - {name: away, type: DNAME, target: example.net.}
      - {name: first, type: DNAME, target: second}
      - {name: second, type: DNAME, target: new}
      - {name: grows, type: DNAME, target: x.grows}
      - {name: sub.new, type: NS, target: ns.sub.new}
      - {name: ns.sub.new, type: A, address: 192.0.2.53}
      - {name: long, type: DNAME, target: "${label63}.${label63}.${label63}"}
      - {name: to-apex, type: DNAME, target: "@"}
      - {name: into, type: CNAME, target: host.old}
`;
const soa = "cdn.test 60 SOA ns1.cdn.test hostmaster.cdn.test 7 7200 3600 1209600 60";
const { ask, send, problems } = bench({ fleet: testFleet({ zones: zoneText(records), steering: "" }) });

test("a name below is rewritten: DNAME, a CNAME with its TTL, and what the new name has", () => {
  assert.deepEqual(problems, []);
  const { flags, rcode, answers } = ask({ name: "host.old.cdn.test" });
  assert.deepEqual(
    [flags, rcode, answers],
    [
      "qr aa",
      0,
      [
        "old.cdn.test 77 DNAME new.cdn.test",
        "host.old.cdn.test 77 CNAME host.new.cdn.test",
        "host.new.cdn.test 300 A 192.0.2.1",
      ],
    ],
  );
  assert.equal(ask({ name: "deep.host.old.cdn.test" }).answers.at(-1), "deep.host.new.cdn.test 300 A 192.0.2.2");
});

test("at the owner itself it has no effect", () => {
  assert.deepEqual(ask({ name: "old.cdn.test", type: "TXT" }).answers, [`old.cdn.test 300 TXT "at the owner"`]);
  assert.deepEqual(ask({ name: "old.cdn.test", type: "DNAME" }).answers, ["old.cdn.test 77 DNAME new.cdn.test"]);
  assert.deepEqual(ask({ name: "old.cdn.test", type: "A" }).authorities, [soa]);
});

test("what the new name lacks is denied for it (RFC 6604)", () => {
  const missing = ask({ name: "nope.old.cdn.test" });
  assert.deepEqual([missing.rcode, missing.answers.length, missing.authorities], [3, 2, [soa]]);
  const noData = ask({ name: "host.old.cdn.test", type: "TXT" });
  assert.deepEqual([noData.rcode, noData.answers.length, noData.authorities], [0, 2, [soa]]);
});

test("CNAME and ANY of a name below end at the synthesised CNAME", () => {
  for (const type of ["CNAME", "ANY"]) {
    assert.deepEqual(ask({ name: "host.old.cdn.test", type }).answers, [
      "old.cdn.test 77 DNAME new.cdn.test",
      "host.old.cdn.test 77 CNAME host.new.cdn.test",
    ]);
  }
});

test("chains: DNAME to DNAME, DNAME to CNAME to DNAME, CNAME to DNAME", () => {
  assert.deepEqual(ask({ name: "host.first.cdn.test" }).answers, [
    "first.cdn.test 300 DNAME second.cdn.test",
    "host.first.cdn.test 300 CNAME host.second.cdn.test",
    "second.cdn.test 300 DNAME new.cdn.test",
    "host.second.cdn.test 300 CNAME host.new.cdn.test",
    "host.new.cdn.test 300 A 192.0.2.1",
  ]);
  assert.deepEqual(ask({ name: "alias.old.cdn.test" }).answers.slice(-4), [
    "alias.new.cdn.test 300 CNAME host.old.cdn.test",
    "old.cdn.test 77 DNAME new.cdn.test",
    "host.old.cdn.test 77 CNAME host.new.cdn.test",
    "host.new.cdn.test 300 A 192.0.2.1",
  ]);
  assert.equal(ask({ name: "into.cdn.test" }).answers.length, 4);
  assert.equal(ask({ name: "host.new.to-apex.cdn.test" }).answers.at(-1), "host.new.cdn.test 300 A 192.0.2.1");
});

test("out of the zone the answer ends there", () => {
  assert.deepEqual(ask({ name: "a.b.away.cdn.test" }).answers, [
    "away.cdn.test 300 DNAME example.net",
    "a.b.away.cdn.test 300 CNAME a.b.example.net",
  ]);
});

test("into a delegation it refers, with the cut's owner spelt right", () => {
  const { flags, authorities, additionals, answers } = ask({ name: "x.sub.old.cdn.test", edns: {} });
  assert.deepEqual(
    [flags, answers.length, authorities, additionals],
    ["qr aa", 2, ["sub.new.cdn.test 300 NS ns.sub.new.cdn.test"], ["ns.sub.new.cdn.test 300 A 192.0.2.53"]],
  );
});

test("a name that grows past 255 octets is YXDOMAIN, with the DNAME", () => {
  const short = ask({ name: `${"a".repeat(40)}.long.cdn.test`, edns: {} });
  assert.equal(short.rcode, 3);
  const long = ask({ name: `${"a".repeat(60)}.long.cdn.test`, edns: {} });
  assert.deepEqual([long.rcode, long.flags, long.answers.length, long.authorities], [6, "qr aa", 1, []]);
});

test("a DNAME into itself ends after twelve turns", () => {
  const { rcode, answers } = ask({ name: "a.grows.cdn.test" }, { transport: "tcp" });
  assert.deepEqual([rcode, answers.length], [0, 24]);
});

test("the query's own spelling stands in the owner of the CNAME (0x20)", () => {
  const { answers } = readAnswer(send(queryOf({ name: "HoSt.OLD.cdn.test" })));
  assert.equal(answers[0], "OLD.cdn.test 77 DNAME new.cdn.test");
  assert.match(answers[1] ?? "", /^HoSt\.OLD\.cdn\.test 77 CNAME host\.new\.cdn\.test$/);
});

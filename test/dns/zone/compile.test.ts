import assert from "node:assert/strict";
import { test } from "node:test";
import { compileZones } from "../../../dns/zone/compile.ts";
import { bench, testFleet } from "../support/fleet.ts";
import { queryOf } from "../support/ask.ts";

test("the fleet document's version is the serial of every zone", () => {
  const fleet = testFleet();
  for (const version of [1, 4_294_967_295]) {
    const { zones } = compileZones(fleet, version);
    for (const zone of zones) {
      const { block } = zone.negativeSoa;
      assert.equal(Buffer.from(block).readUInt32BE(block.length - 20), version, zone.apexText);
    }
  }
});

test("an RRset that no message can hold is reported, and SERVFAIL over TCP", () => {
  const records = Array.from(
    { length: 300 },
    (_, i) => `      - {name: big, type: TXT, text: ["${`${i} `.padEnd(250, "x")}"]}`,
  );
  const fleet = testFleet({
    zones: `
zones:
  - name: cdn.test
    nameservers: [{name: ns1, addresses: [192.0.2.1]}]
    records:
${records.join("\n")}
`,
    steering: "",
  });
  assert.match(compileZones(fleet, 1).problems.join(), /an RRset has \d+ octets, above 65000: no answer can hold it/);
  const { ask } = bench({ fleet });
  assert.equal(ask({ name: "big.cdn.test", type: "TXT" }).flags, "qr aa tc");
  assert.equal(ask({ name: "big.cdn.test", type: "TXT" }, { transport: "tcp" }).rcode, 2);
});

test("names in rdata are compressed where that is allowed, and never in SRV (RFC 2782)", () => {
  const { send } = bench();
  const has = (bytes: Uint8Array, text: string): boolean => Buffer.from(bytes).includes(text, 40, "latin1");
  assert.ok(!has(send(queryOf({ name: "cdn.test", type: "MX" })), "\x03cdn\x04test"), "MX points at the question");
  assert.ok(!has(send(queryOf({ name: "cdn.test", type: "NS" })), "\x03cdn\x04test"), "NS too");
  assert.ok(
    has(send(queryOf({ name: "_http._tcp.cdn.test", type: "SRV" })), "\x03www\x03cdn\x04test\x00"),
    "SRV does not",
  );
});

test("records of one RRset have one TTL (RFC 2181 §5.2), also where the document's glue meets a record", () => {
  const fleet = testFleet({
    zones: `
zones:
  - name: cdn.test
    nameservers: [{name: ns1, addresses: [192.0.2.1]}]
    records:
      - {name: ns1, type: A, address: 192.0.2.2, ttlSeconds: 77}
`,
    steering: "",
  });
  const ttls = bench({ fleet })
    .ask({ name: "ns1.cdn.test" })
    .answers.map((answer) => answer.split(" ")[1]);
  assert.equal(ttls.length, 2);
  assert.equal(new Set(ttls).size, 1);
});

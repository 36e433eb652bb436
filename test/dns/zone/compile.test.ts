import assert from "node:assert/strict";
import { test } from "node:test";
import { nameFromText } from "../../../dns/wire/name.ts";
import { recordTypes } from "../../../dns/wire/numbers.ts";
import { compileZones } from "../../../dns/zone/compile.ts";
import { emptyFound, foundHere, foundMissing, lookUp, setOf } from "../../../dns/zone/lookup.ts";
import type { CompiledZones } from "../../../dns/zone/compiled-zones.ts";
import { queryOf } from "../support/ask.ts";
import { bench, testFleet, zoneText } from "../support/fleet.ts";

/** `testFleet()` checks what it is given; these records go past its limits on their number, or its checks. */
function fleetWithRecords(records: readonly unknown[]) {
  const fleet = testFleet({ zones: zoneText("      - {name: www, type: A, address: 192.0.2.9}"), steering: "" });
  const value = structuredClone(fleet) as unknown as { zones: [{ records: unknown[] }] };
  for (const record of records) value.zones[0].records.push(record);
  return value as unknown as typeof fleet;
}

test("the fleet document's version is the serial of every zone", () => {
  const fleet = testFleet();
  for (const version of [1, 4_294_967_295]) {
    const { compiled } = compileZones(fleet, version);
    assert.deepEqual(compiled.zoneNames, ["cdn.test", "inner.cdn.test"]);
    let serials = 0;
    for (const apex of compiled.zoneNames) {
      const set = setOf(compiled, nodeOf(compiled, apex), recordTypes.SOA);
      const block = blockOf(compiled, set);
      assert.equal(block.readUInt32BE(block.length - 20), version, apex);
      serials++;
    }
    assert.equal(serials, 2);
  }
});

function nodeOf(compiled: CompiledZones, text: string): number {
  const found = emptyFound();
  const name = nameFromText(text);
  assert.ok(name);
  lookUp(compiled, name, recordTypes.A, found);
  assert.equal(found.kind, foundHere, text);
  return found.node;
}

function blockOf(compiled: CompiledZones, set: number): Buffer {
  const [, , , at = 0, length = 0] = compiled.sets.subarray(set * 8);
  return Buffer.from(compiled.bytes.slice(at, at + length));
}

test("an RRset that no message can hold is reported, and SERVFAIL over TCP", () => {
  const fleet = fleetWithRecords(
    Array.from({ length: 300 }, (_, i) => ({ name: "big", type: "TXT", text: [`${i} `.padEnd(250, "x")] })),
  );
  const { ask, problems } = bench({ fleet });
  assert.match(problems.join(), /big.cdn.test type 16: an RRset has \d+ octets, above 65000: no answer can hold it/);
  assert.equal(ask({ name: "big.cdn.test", type: "TXT" }).flags, "qr aa tc");
  assert.equal(ask({ name: "big.cdn.test", type: "TXT" }, { transport: "tcp" }).rcode, 2);
});

test("names in rdata are compressed where that is allowed, and never in newer types (RFC 3597 §4)", () => {
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
    zones: zoneText("      - {name: ns1, type: A, address: 192.0.2.2, ttlSeconds: 77}"),
    steering: "",
  });
  const ttls = bench({ fleet })
    .ask({ name: "ns1.cdn.test" })
    .answers.map((answer) => answer.split(" ")[1]);
  assert.equal(ttls.length, 2);
  assert.equal(new Set(ttls).size, 1);
});

test("what can't be written leaves out that record, is reported, and costs nothing else", () => {
  const long = Array<string>(9).fill("a".repeat(30)).join(".");
  const fleet = fleetWithRecords([
    { name: long, type: "A", address: "192.0.2.1" },
    { name: "outside.example.", type: "A", address: "192.0.2.1" },
    { name: "x", type: "A", address: "2001:db8::1" },
    { name: "meta", type: "RAW", typeNumber: 41, data: "00" },
    { name: "short", type: "RAW", typeNumber: 1, data: "0102" },
    { name: "@", type: "CNAME", target: "www" },
    { name: "@", type: "DS", keyTag: 1, algorithm: 13, digestType: 2, digest: "00" },
    { name: "dangling", type: "ALIAS", target: "nothing" },
    { name: "away", type: "ALIAS", target: "example.net." },
    { name: "s", type: "HTTPS", priority: 1, target: ".", params: { noDefaultAlpn: true } },
  ]);
  const { ask, problems } = bench({ fleet });
  assert.equal(problems.length, 10, problems.join("\n"));
  assert.deepEqual(ask({ name: "www.cdn.test" }).answers, ["www.cdn.test 300 A 192.0.2.9"]);
  for (const name of ["x", "meta", "s"]) assert.equal(ask({ name: `${name}.cdn.test` }).rcode, 3, name);
});

test("a million wrong records are reported as a hundred and a number", () => {
  const records = Array.from({ length: 1000 }, (_, i) => ({ name: `h${i}`, type: "A", address: "nonsense" }));
  const { problems } = bench({ fleet: fleetWithRecords(records) });
  assert.equal(problems.length, 101);
  assert.equal(problems.at(-1), "and 900 more");
});

test("100,000 records: each is found, none costs 200 octets, no path through the table is long", () => {
  const count = 100_000;
  const records = Array.from({ length: count }, (_, i) => ({
    name: `host-${i}.r${i % 300}`,
    type: "A",
    address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
  }));
  const fleet = fleetWithRecords(records);
  const { compiled, problems } = compileZones(fleet, 1);
  assert.deepEqual(problems, []);
  const { zoneNames, ...arrays } = compiled;
  assert.deepEqual(zoneNames, ["cdn.test"]);
  const sizeBytes = Object.values(arrays).reduce((sum, array) => sum + array.byteLength, 0);
  assert.ok(sizeBytes / count < 200, `${sizeBytes / count} octets per record`);
  for (const array of Object.values(arrays)) assert.ok(array.buffer instanceof SharedArrayBuffer);
  const nodes = compiled.nodes.length / 8;
  assert.ok(compiled.table.length >= nodes * 2, "at most half full");

  const { ask, steps } = bench({ fleet });
  let stepsMost = 0;
  for (let i = 0; i < count; i += 97) {
    const name = `host-${i}.r${i % 300}.cdn.test`;
    assert.deepEqual(ask({ name }).answers, [`${name} 300 A 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`]);
    assert.equal(ask({ name: `x${name}` }).rcode, 3);
    stepsMost = Math.max(stepsMost, steps());
  }
  assert.ok(stepsMost < 250, `${stepsMost} steps`);
});

test("the compiled zones hold no functions and no cycles: it can be posted to a thread", () => {
  const { compiled } = compileZones(testFleet(), 1);
  const posted = structuredClone(compiled);
  assert.equal(posted.bytes.buffer.byteLength, compiled.bytes.buffer.byteLength);
  const found = emptyFound();
  const name = nameFromText("nope.cdn.test");
  assert.ok(name);
  lookUp(posted, name, recordTypes.A, found);
  assert.deepEqual([found.kind, found.zone, found.nodeLabels], [foundMissing, 0, 2]);
});

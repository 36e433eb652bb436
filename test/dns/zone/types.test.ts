/** Every record type of the fleet document, to the wire: read by `dns-packet` where it can, else as octets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nameBytes, queryOf, typeNumbers, u16 } from "../support/ask.ts";
import { bench, testFleet, zoneText } from "../support/fleet.ts";

/** SHA-256: `dns-packet` expects its length. */
const fingerprint = "0a1b2c3d".repeat(8);
const records = `
      - {name: a, type: A, address: 192.0.2.1}
      - {name: a, type: AAAA, address: "2001:db8::1"}
      - {name: p, type: PTR, target: a}
      - {name: d, type: DNAME, target: elsewhere.example.}
      - {name: n, type: NAPTR, order: 100, preference: 50, flags: s, services: SIP+D2U,
         regexp: "!^.*$!sip:x@y!", replacement: _sip._udp}
      - {name: t, type: TLSA, usage: 3, selector: 1, matchingType: 1, data: "0102030405"}
      - {name: s, type: SSHFP, algorithm: 4, fingerprintType: 2, fingerprint: "${fingerprint}"}
      - {name: signed, type: NS, target: ns.example.net.}
      - {name: signed, type: DS, keyTag: 60485, algorithm: 13, digestType: 2, digest: 2BB183AF}
      - {name: raw, type: RAW, typeNumber: 65280, data: "00ff10"}
      - {name: raw, type: RAW, typeNumber: 65281, data: ""}
      - {name: txt, type: TXT, text: ["grüße", ""]}
      - {name: caa, type: CAA, flags: 128, tag: iodef, value: "mailto:a@example.net"}
      - {name: mx, type: MX, preference: 0, exchange: "."}
      - {name: srv, type: SRV, priority: 0, weight: 0, port: 0, target: "."}
`;
const { ask, send, problems } = bench({ fleet: testFleet({ zones: zoneText(records), steering: "" }) });

/** rdata of the only record of the answer; its owner is a pointer. */
function rdataOf(name: string, type: string | number): number[] {
  const query = queryOf({ name: `${name}.cdn.test`, type });
  const answer = Buffer.from(send(query));
  assert.deepEqual([answer.readUInt16BE(2), answer.readUInt16BE(6)], [0x8400, 1], `${name} ${type}`);
  assert.deepEqual(
    [...answer.subarray(query.length, query.length + 6)],
    [0xc0, 12, ...u16(typeof type === "number" ? type : (typeNumbers[type] ?? 0)), 0, 1],
  );
  assert.equal(answer.readUInt16BE(query.length + 10), answer.length - query.length - 12);
  return [...answer.subarray(query.length + 12)];
}

test("the document is compiled without a complaint", () => {
  assert.deepEqual(problems, []);
});

test("types that dns-packet reads", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["a", "A", "A 192.0.2.1"],
    ["a", "AAAA", "AAAA 2001:db8::1"],
    ["p", "PTR", "PTR a.cdn.test"],
    ["d", "DNAME", "DNAME elsewhere.example"],
    ["n", "NAPTR", "NAPTR 100 50 s SIP+D2U !^.*$!sip:x@y! _sip._udp.cdn.test"],
    ["t", "TLSA", "TLSA 3 1 1 0102030405"],
    ["s", "SSHFP", `SSHFP 4 2 ${fingerprint.toUpperCase()}`],
    ["signed", "DS", "DS 60485 13 2 2bb183af"],
    ["txt", "TXT", `TXT "grüße" ""`],
    ["caa", "CAA", "CAA 128 iodef mailto:a@example.net true"],
    ["mx", "MX", "MX 0 ."],
    ["srv", "SRV", "SRV 0 0 0 ."],
  ];
  for (const [name, type, expected] of cases) {
    const answers = ask({ name: `${name}.cdn.test`, type }).answers.map((text) => text.replace(/ Buffer.*$/, ""));
    assert.equal(answers.length, 1, type);
    const [owner, ttl, ...rest] = (answers[0] ?? "").split(" ");
    assert.deepEqual([owner, ttl, rest.join(" ")], [`${name}.cdn.test`, "300", expected]);
  }
});

test("types as octets", () => {
  assert.deepEqual(rdataOf("t", "TLSA"), [3, 1, 1, 1, 2, 3, 4, 5]);
  assert.deepEqual(rdataOf("s", "SSHFP"), [4, 2, ...Buffer.from(fingerprint, "hex")]);
  assert.deepEqual(rdataOf("signed", "DS"), [...u16(60_485), 13, 2, 0x2b, 0xb1, 0x83, 0xaf]);
  assert.deepEqual(rdataOf("raw", 65_280), [0x00, 0xff, 0x10]);
  assert.deepEqual(rdataOf("raw", 65_281), []);
  assert.deepEqual(rdataOf("d", "DNAME"), nameBytes("elsewhere.example"));
  const naptr = rdataOf("n", "NAPTR");
  assert.deepEqual(naptr.slice(-nameBytes("_sip._udp.cdn.test").length), nameBytes("_sip._udp.cdn.test"), "whole");
});

test("a DS at a delegation is answered with authority, all else refers", () => {
  assert.equal(ask({ name: "signed.cdn.test", type: "DS" }).flags, "qr aa");
  const other = ask({ name: "signed.cdn.test", type: "TXT" });
  assert.deepEqual([other.flags, other.authorities], ["qr", ["signed.cdn.test 300 NS ns.example.net"]]);
});

test("ANY of a name with any of them is one HINFO", () => {
  for (const name of ["raw", "n", "t", "d"]) {
    assert.deepEqual(ask({ name: `${name}.cdn.test`, type: "ANY" }).answers, [`${name}.cdn.test 300 HINFO RFC8482 `]);
  }
});

test("a zone read from a zone file: its own SOA and apex NS, escapes in names, the version as serial", () => {
  const fleet = testFleet({ steering: "", zones: zoneText("      - {name: www, type: A, address: 192.0.2.9}") });
  const zone = {
    name: "file.test",
    ttlSeconds: 3600,
    negativeTtlSeconds: 60,
    nameservers: [],
    records: [
      { name: "file.test.", type: "NS", target: "ns.file.test.", ttlSeconds: 7200 },
      { name: "ns.file.test.", type: "A", address: "192.0.2.53" },
      { name: "a\\.b.file.test.", type: "TXT", text: ["dot in a label"] },
      { name: "a\\032b.file.test.", type: "CNAME", target: "a\\.b.file.test." },
    ],
    soa: {
      ttlSeconds: 900,
      primary: "ns.file.test.",
      mailbox: "john\\.doe.example.net.",
      serial: 2026112100,
      refreshSeconds: 1,
      retrySeconds: 2,
      expireSeconds: 3,
      minimumSeconds: 30,
    },
  };
  const { ask: askFile, send: sendFile } = bench({
    fleet: { ...fleet, zones: [...fleet.zones, zone as (typeof fleet.zones)[number]] },
  });
  const soa = "SOA ns.file.test john\\.doe.example.net 7 1 2 3 30";
  assert.deepEqual(askFile({ name: "file.test", type: "SOA" }).answers, [`file.test 900 ${soa}`]);
  assert.deepEqual(askFile({ name: "x.file.test" }).authorities, [`file.test 30 ${soa}`]);
  assert.deepEqual(askFile({ name: "file.test", type: "NS" }).answers, ["file.test 7200 NS ns.file.test"]);
  const labels = (...own: readonly string[]): number[] => [
    ...own.flatMap((label) => [label.length, ...Buffer.from(label, "latin1")]),
    ...nameBytes("file.test"),
  ];
  const ask16 = (name: readonly number[]): Buffer =>
    Buffer.from(sendFile(Uint8Array.from([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...name, 0, 16, 0, 1])));
  assert.equal(ask16(labels("a.b")).readUInt16BE(6), 1, "the escaped dot is part of the label");
  assert.equal(ask16(labels("a", "b"))[3], 3, "two labels are another name");
  assert.equal(ask16(labels("a b")).readUInt16BE(6), 2, "an alias and its target");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { problemLines, type ValueProblem } from "#base/schema.ts";
import { checkFleet } from "#document/read-document.ts";
import { fleetValue } from "../../support/fleet.ts";

const start = "$TTL 300\n@ SOA ns1 host 1 2 3 4 5\n@ NS ns1\nns1 A 192.0.2.53\n";

function linesOf(parts: Record<string, unknown>): string[] {
  const checked = checkFleet(fleetValue(parts));
  return checked.ok ? [] : problemLines(checked.problems);
}

function warningsOf(parts: Record<string, unknown>): string[] {
  const warnings: ValueProblem[] = [];
  const checked = checkFleet(fleetValue(parts), { warn: (warning) => warnings.push(warning) });
  assert(checked.ok, checked.ok ? "" : problemLines(checked.problems).join("\n"));
  return problemLines(warnings);
}

const ofRecords = (...records: object[]): Record<string, unknown> => ({
  zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }], records }],
});
const ofText = (...lines: string[]): Record<string, unknown> => ({
  zones: [{ name: "cdn.test", text: start + lines.join("\n") }],
});
const steered = (...names: string[]): Record<string, unknown> => ({
  steering: names.map((name) => ({ name, policy: "geo" })),
});
const a = { name: "x", type: "A", address: "192.0.2.1" };
const https = (params: object, more: object = {}): Record<string, unknown> =>
  ofRecords({ name: "x", type: "HTTPS", priority: 1, target: "far.example.", params, ...more });

test("records that conflict are reported, in lists of records and in zone files", () => {
  const rows: [what: string, parts: Record<string, unknown>, ...lines: string[]][] = [
    [
      "below a DNAME",
      ofRecords({ name: "d", type: "DNAME", target: "e.example." }, { ...a, name: "b.a.d" }),
      "zones[0].records[1].name: b.a.d.cdn.test lies below the DNAME at d.cdn.test",
    ],
    [
      "below a DNAME, in a text",
      ofText("d DNAME e.example.", "b.D A 192.0.2.1", "dd A 192.0.2.1", "x\\.d A 192.0.2.1"),
      "zones[0].text, line 6: b.d.cdn.test lies below the DNAME at d.cdn.test",
    ],
    [
      "below a DNAME of the apex",
      ofText("@ DNAME e.example."),
      "zones[0].text, line 4: ns1.cdn.test lies below the DNAME at cdn.test",
    ],
    [
      "two DNAME",
      ofText("d DNAME e.example.", "d DNAME f.example."),
      "zones[0].text, line 6: d.cdn.test has two DNAME records: only one is allowed",
    ],
    [
      "DNAME beside CNAME",
      ofRecords({ name: "d", type: "DNAME", target: "e" }, { name: "d", type: "CNAME", target: "e" }),
      "zones[0].records[1]: d.cdn.test has a CNAME and other records: a CNAME must be alone",
    ],
    [
      "DNAME at a cut",
      ofText("d DNAME e.example.", "d NS ns.example."),
      "zones[0].text, line 5: d.cdn.test has both a DNAME and NS records: this is allowed only at the apex",
    ],
    [
      "wildcard DNAME",
      ofRecords({ name: "*.d", type: "DNAME", target: "e" }),
      "zones[0].records[0].name: a DNAME can't be at a wildcard (*.d.cdn.test)",
    ],
    [
      "steered below a DNAME",
      { ...ofText("d DNAME e.example."), ...steered("img.d.cdn.test") },
      'steering[0].name: "img.d.cdn.test" lies below the DNAME at d.cdn.test',
    ],
    [
      "a zone below a DNAME",
      {
        zones: [
          { name: "x.d.cdn.test", text: start },
          { name: "cdn.test", text: `${start}d DNAME e.example.` },
        ],
      },
      "zones[0].name: the zone x.d.cdn.test lies below the DNAME at d.cdn.test",
    ],
    [
      "CNAME beside A",
      ofText("x A 192.0.2.1", "X CNAME y"),
      "zones[0].text, line 6: x.cdn.test has a CNAME and other records: a CNAME must be alone",
    ],
    [
      "CNAME at the apex",
      ofText("@ CNAME y"),
      "zones[0].text, line 5: cdn.test has a CNAME and other records: a CNAME must be alone",
    ],
    [
      "steered beside A",
      { ...ofText("img A 192.0.2.1"), ...steered("IMG.cdn.test.") },
      'steering[0].name: "IMG.cdn.test." also has an A, AAAA, CNAME or ALIAS record in its zone: remove the ' +
        "record or the steering",
    ],
    [
      "steered in a delegation",
      { ...ofText("sub NS ns.example."), ...steered("sub.cdn.test", "img.sub.cdn.test") },
      'steering[0].name: "sub.cdn.test" lies in sub.cdn.test, which is delegated to other nameservers',
      'steering[1].name: "img.sub.cdn.test" lies in sub.cdn.test, which is delegated to other nameservers',
    ],
    [
      "steered elsewhere",
      { ...ofText(), ...steered("img.test") },
      'steering[0].name: "img.test" lies in none of the zones: add its zone, or correct the name',
    ],
    [
      "ALIAS beside A",
      ofText("x A 192.0.2.1", "x ALIAS ns1"),
      "zones[0].text, line 6: x.cdn.test has both an ALIAS and A, AAAA or CNAME records: keep one of them",
    ],
    [
      "two ALIAS",
      ofText("x ALIAS ns1", "x ALIAS ns1"),
      "zones[0].text, line 6: x.cdn.test has two ALIAS records: only one is allowed",
    ],
    [
      "ALIAS and steered",
      { ...ofRecords({ name: "x", type: "ALIAS", target: "ns1" }), ...steered("x.cdn.test") },
      "zones[0].records[0]: x.cdn.test has an ALIAS and is also steered: remove one of them",
      'steering[0].name: "x.cdn.test" also has an A, AAAA, CNAME or ALIAS record in its zone: remove the record ' +
        "or the steering",
    ],
    [
      "ALIAS to elsewhere",
      ofRecords({ name: "@", type: "ALIAS", target: "far.example." }),
      "zones[0].records[0].target: the ALIAS of cdn.test leads to far.example, which lies in none of these zones",
    ],
    [
      "ALIAS of itself",
      ofText("x ALIAS y", "y CNAME z", "z ALIAS x"),
      "zones[0].text, line 5: the ALIAS of x.cdn.test leads through a loop, or through more than 12 aliases",
      "zones[0].text, line 7: the ALIAS of z.cdn.test leads through a loop, or through more than 12 aliases",
    ],
    [
      "ALIAS to nothing",
      ofText("x ALIAS y", "y TXT z", "b.e A 192.0.2.1", "*.e A 192.0.2.1", "z ALIAS e", "v ALIAS a.b.e"),
      "zones[0].text, line 5: the ALIAS of x.cdn.test leads to y.cdn.test, which has no addresses",
      "zones[0].text, line 9: the ALIAS of z.cdn.test leads to e.cdn.test, which has no addresses",
      "zones[0].text, line 10: the ALIAS of v.cdn.test leads to a.b.e.cdn.test, which has no addresses",
    ],
    [
      "ALIAS into a delegation",
      ofText("x ALIAS www.sub", "sub NS ns1.sub", "www.sub A 192.0.2.1"),
      "zones[0].text, line 5: the ALIAS of x.cdn.test leads to www.sub.cdn.test, which is delegated to other " +
        "nameservers",
    ],
    [
      "DS without a cut",
      ofText("x DS 1 8 2 aabb", "@ DS 1 8 2 aabb", "y TYPE43 \\# 5 0001080201"),
      "zones[0].text, line 5: x.cdn.test has a DS record but is not delegated: add its NS records, or remove the DS",
      "zones[0].text, line 6: cdn.test has a DS record but is not delegated: add its NS records, or remove the DS",
      "zones[0].text, line 7: y.cdn.test has a DS record but is not delegated: add its NS records, or remove the DS",
    ],
    [
      "nameservers of a text",
      {
        ...ofText("@ NS alias", "alias CNAME ns1", "@ NS img", "@ NS missing", "@ NS far.example."),
        ...steered("img.cdn.test"),
      },
      "zones[0].text, line 5: the nameserver alias.cdn.test is a CNAME: give it A or AAAA records instead (RFC " +
        "2181 §10.3)",
      "zones[0].text, line 7: the nameserver img.cdn.test is steered: a nameserver needs fixed addresses",
      "zones[0].text, line 8: the nameserver missing.cdn.test lies in the zone but has no A or AAAA record there",
    ],
    [
      "no nameserver",
      { zones: [{ name: "cdn.test" }] },
      "zones[0].nameservers: is required: list the nameservers of the zone",
    ],
    [
      "RAW of a kind",
      ofRecords(
        { name: "x", type: "RAW", typeNumber: 15, data: "" },
        { name: "x", type: "RAW", typeNumber: 6, data: "" },
        { name: "x", type: "RAW", typeNumber: 46, data: "" },
        { name: "x", type: "RAW", typeNumber: 41, data: "" },
        { name: "x", type: "RAW", typeNumber: 128, data: "" },
        { name: "x", type: "RAW", typeNumber: 255, data: "" },
        { name: "x", type: "RAW", typeNumber: 127, data: "" },
        { name: "x", type: "RAW", typeNumber: 256, data: "" },
      ),
      "zones[0].records[0].typeNumber: type 15 is MX: write the record as MX",
      "zones[0].records[1].typeNumber: type 6 is SOA: a zone has exactly one, and it can't be written as RAW",
      "zones[0].records[2].typeNumber: type 46 is made by a DNSSEC signer, and nearcast serves zones unsigned: " +
        "remove such records",
      "zones[0].records[3].typeNumber: type 41 is not a type that a zone can contain (allowed: 1-127 except 41, " +
        "256-65535)",
      "zones[0].records[4].typeNumber: type 128 is not a type that a zone can contain (allowed: 1-127 except 41, " +
        "256-65535)",
      "zones[0].records[5].typeNumber: type 255 is not a type that a zone can contain (allowed: 1-127 except 41, " +
        "256-65535)",
    ],
    [
      "two TTLs of one number",
      ofRecords(
        { name: "x", type: "TXT", text: ["a"], ttlSeconds: 5 },
        { name: "x", type: "RAW", typeNumber: 16, data: "0162", ttlSeconds: 6 },
      ),
      "zones[0].records[1].ttlSeconds: must be 5, as in the first record of x.cdn.test RAW (got 6)",
    ],
    [
      "NAPTR of many octets",
      ofRecords({ name: "x", type: "NAPTR", order: 1, preference: 1, regexp: "é".repeat(200), replacement: "." }),
      "zones[0].records[0].regexp: must not be longer than 255 octets",
    ],
    [
      "an alias with parameters",
      https({ port: 1 }, { priority: 0 }),
      "zones[0].records[0].params: a HTTPS record of priority 0 is an alias and takes no parameters: remove " +
        "them, or set priority to 1 or more",
    ],
    ["an alias without", https({}, { priority: 0 })],
    [
      "no protocol",
      https({ noDefaultAlpn: true }),
      "zones[0].records[0].params.noDefaultAlpn: needs alpn: without it the record offers no protocol",
    ],
    [
      "hints of the wrong family",
      https({ ipv4hint: ["::1"], ipv6hint: ["::1", "192.0.2.1"] }),
      'zones[0].records[0].params.ipv4hint[0]: must be an IPv4 address (got "::1")',
      'zones[0].records[0].params.ipv6hint[1]: must be an IPv6 address (got "192.0.2.1")',
    ],
    [
      "hints of our own",
      https({ ipv6hint: ["::1"] }, { target: "." }),
      "zones[0].records[0].params.ipv6hint: x.cdn.test lies in these zones, so its hints are made from its " +
        "addresses: remove ipv6hint",
    ],
    [
      "hints of our own, in a text",
      ofText("x HTTPS 1 ns1 ipv4hint=192.0.2.53"),
      "zones[0].text, line 5: ns1.cdn.test lies in these zones, so its hints are made from its addresses: remove " +
        "ipv4hint",
    ],
    [
      "mandatory keys",
      https({
        mandatory: ["alpn", "mandatory", "port", "alpn", "key7", "no-default-alpn"],
        alpn: ["h2"],
        other: { key7: "" },
      }),
      `zones[0].records[0].params.mandatory[1]: "mandatory" can't be listed as mandatory`,
      'zones[0].records[0].params.mandatory[2]: "port" is mandatory but not set (set: mandatory, alpn, key7)',
      'zones[0].records[0].params.mandatory[3]: "alpn" is listed twice',
      'zones[0].records[0].params.mandatory[5]: "no-default-alpn" is mandatory but not set (set: mandatory, ' +
        "alpn, key7)",
    ],
    [
      "keys that are none",
      https({ other: { key6: "", key007: "", key65535: "", key65534: "" } }),
      "zones[0].records[0].params.other.key6: must be key7 to key65534, without leading zeros",
      "zones[0].records[0].params.other.key007: must be key7 to key65534, without leading zeros",
      "zones[0].records[0].params.other.key65535: must be key7 to key65534, without leading zeros",
    ],
  ];
  for (const [what, parts, ...lines] of rows) assert.deepEqual(linesOf(parts), lines, what);
});

test("what may stand together is taken", () => {
  const rows: [what: string, parts: Record<string, unknown>][] = [
    ["an alias at the apex", ofText("@ ALIAS www", "www CNAME x", "x A 192.0.2.1")],
    ["an alias to a steered name", { ...ofText("@ ALIAS img"), ...steered("img.cdn.test") }],
    ["an alias to a wildcard", ofText("@ ALIAS a.b.w", "*.w AAAA ::1")],
    ["an alias through a DNAME", ofText("@ ALIAS a.d", "d DNAME e", "a.e A 192.0.2.1")],
    [
      "an alias into another zone",
      {
        zones: [
          { name: "cdn.test", text: `${start}@ ALIAS www.other.test.` },
          {
            name: "other.test",
            nameservers: [{ name: "ns.example." }],
            records: [{ name: "www", type: "A", address: "192.0.2.1" }],
          },
        ],
      },
    ],
    ["an alias to a nameserver's address", ofRecords({ name: "@", type: "ALIAS", target: "ns1" })],
    [
      "a DNAME at the apex beside its NS",
      { zones: [{ name: "cdn.test", text: "@ 1 SOA a.x. b 1 2 3 4 5\n@ NS a.x.\n@ DNAME b.x." }] },
    ],
    ["names that only look alike", ofText("d DNAME e.example.", "x\\.d A 192.0.2.1")],
    ["a DS at a cut", ofText("sub NS ns.example.", "sub DS 1 8 2 aabb")],
    ["hints for a target elsewhere", https({ ipv4hint: ["192.0.2.1"], ipv6hint: ["::1"], mandatory: ["ipv4hint"] })],
    ["a TXT and its like", ofText('x TXT "a"', 'x TXT "\\255"')],
  ];
  for (const [what, parts] of rows) assert.deepEqual(linesOf(parts), [], what);
});

test("what works but is unwise gets a warning", () => {
  assert.deepEqual(
    warningsOf(
      ofText("c CNAME ns1", "@ MX 1 c", "_s._tcp SRV 1 1 1 c", "sub NS c", "@ MX 1 .", "t 1 TXT a", "t 2 TXT b"),
    ),
    [
      "zones[0].text, line 11: the TTL 2 of t.cdn.test. TXT is ignored: the first record of this RRset has 1 " +
        "(zones[0].text:10)",
      "zones[0].text, line 6: the MX target c.cdn.test of cdn.test is a CNAME: some clients refuse it",
      "zones[0].text, line 7: the SRV target c.cdn.test of _s._tcp.cdn.test is a CNAME: some clients refuse it",
      "zones[0].text, line 8: the nameserver c.cdn.test is a CNAME: give it A or AAAA records instead (RFC 2181 §10.3)",
    ],
  );
  assert.deepEqual(warningsOf(ofRecords(a)), []);
  const many = warningsOf(ofText("c CNAME ns1", ...Array.from({ length: 2000 }, (_, n) => `m${n} MX 1 c`)));
  assert.equal(many.length, 1000);
});

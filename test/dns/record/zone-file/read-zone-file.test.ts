import assert from "node:assert/strict";
import { test } from "node:test";
import type { ZoneRecord } from "#record/types.ts";
import { seededRandom } from "#base/random.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { linesOf, read, readGood, recordLine, recordsOf, zoneStart } from "./zone-text.ts";

const rich = `; everything that a zone file can say
$TTL 1h
$ORIGIN test.
cdn     IN SOA ns1.cdn hostmaster\\.dns.cdn (
                2024010101 ; serial
                2h         ; refresh
                30m 2w 5m )
        NS ns1.cdn
        NS ns2.elsewhere.example.
$ORIGIN cdn.test.
@       MX 10 mail
        MX ( 20
             mail2 ) ; two lines
        TXT "v=spf1 -all" unquoted "with ; semicolon" "and \\"quotes\\" \\092 \\195\\169"
        CAA 0 issue "letsencrypt.org; validationmethods=dns-01"
        CAA 128 iodef mailto:sec@example.com
        HTTPS 1 . alpn="h2,h3" port=8443 no-default-alpn ech="AEX+DQA=" mandatory=port,alpn key65333="\\001a\\000"
ns1     300 IN A 192.0.2.53
        IN 300 AAAA 2001:db8::53
mail    A 192.0.2.25
mail2   1W A 192.0.2.26
www     60 CNAME @
*.shop  AAAA 2001:db8::1
a\\.b    A 192.0.2.8
\\065bc.\\100 A 192.0.2.9
0/25    PTR host.example.
sp\\ ace A 192.0.2.10
old     DNAME new.example.
_https._tcp SRV 1 2 443 www
_443._tcp TLSA 3 1 1 ( 00112233
     aabbccdd )
host    SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
enum    NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp
        NAPTR 10 10 "u" "E2U+sip" "!^\\\\+44(.*)$!sip:\\\\1@example.com!" .
sub     NS ns.sub
        NS ns2.elsewhere.example.
        DS 60485 8 1 ( 2BB183AF5F22588179A53B0A
                       98631FAD1A292118 )
ns.sub  A 192.0.2.99
_svc    SVCB 0 svc.elsewhere.example.
svc     SVCB 16 foo.example.org. ipv4hint=192.0.2.1,192.0.2.2 ipv6hint="2001:db8::1,2001:db8::2" (
             alpn="f\\\\\\\\oo\\\\,bar,h2" )
        ALIAS www
un      TYPE65280 \\# 4 0a000001
        TYPE65281 \\# 0
bin     TXT "\\200\\255" "ok"
`;

const name = (relative: string): string => `${relative}.cdn.test.`;
const richRecords: ZoneRecord[] = [
  { name: "cdn.test.", type: "NS", ttlSeconds: 3600, target: name("ns1") },
  { name: "cdn.test.", type: "NS", ttlSeconds: 3600, target: "ns2.elsewhere.example." },
  { name: "cdn.test.", type: "MX", ttlSeconds: 3600, preference: 10, exchange: name("mail") },
  { name: "cdn.test.", type: "MX", ttlSeconds: 3600, preference: 20, exchange: name("mail2") },
  {
    name: "cdn.test.",
    type: "TXT",
    ttlSeconds: 3600,
    text: ["v=spf1 -all", "unquoted", "with ; semicolon", 'and "quotes" \\ é'],
  },
  {
    name: "cdn.test.",
    type: "CAA",
    ttlSeconds: 3600,
    flags: 0,
    tag: "issue",
    value: "letsencrypt.org; validationmethods=dns-01",
  },
  { name: "cdn.test.", type: "CAA", ttlSeconds: 3600, flags: 128, tag: "iodef", value: "mailto:sec@example.com" },
  {
    name: "cdn.test.",
    type: "HTTPS",
    ttlSeconds: 3600,
    priority: 1,
    target: ".",
    params: {
      alpn: ["h2", "h3"],
      port: 8443,
      noDefaultAlpn: true,
      ech: "AEX+DQA=",
      mandatory: ["port", "alpn"],
      other: { key65333: "016100" },
    },
  },
  { name: name("ns1"), type: "A", ttlSeconds: 300, address: "192.0.2.53" },
  { name: name("ns1"), type: "AAAA", ttlSeconds: 300, address: "2001:db8::53" },
  { name: name("mail"), type: "A", ttlSeconds: 3600, address: "192.0.2.25" },
  { name: name("mail2"), type: "A", ttlSeconds: 604_800, address: "192.0.2.26" },
  { name: name("www"), type: "CNAME", ttlSeconds: 60, target: "cdn.test." },
  { name: name("*.shop"), type: "AAAA", ttlSeconds: 3600, address: "2001:db8::1" },
  { name: name("a\\.b"), type: "A", ttlSeconds: 3600, address: "192.0.2.8" },
  { name: name("Abc.d"), type: "A", ttlSeconds: 3600, address: "192.0.2.9" },
  { name: name("0/25"), type: "PTR", ttlSeconds: 3600, target: "host.example." },
  { name: name("sp\\032ace"), type: "A", ttlSeconds: 3600, address: "192.0.2.10" },
  { name: name("old"), type: "DNAME", ttlSeconds: 3600, target: "new.example." },
  { name: name("_https._tcp"), type: "SRV", ttlSeconds: 3600, priority: 1, weight: 2, port: 443, target: name("www") },
  {
    name: name("_443._tcp"),
    type: "TLSA",
    ttlSeconds: 3600,
    usage: 3,
    selector: 1,
    matchingType: 1,
    data: "00112233aabbccdd",
  },
  {
    name: name("host"),
    type: "SSHFP",
    ttlSeconds: 3600,
    algorithm: 4,
    fingerprintType: 2,
    fingerprint: "123456789abcdef67890123456789abcdef67890123456789abcdef123456789",
  },
  {
    name: name("enum"),
    type: "NAPTR",
    ttlSeconds: 3600,
    order: 100,
    preference: 50,
    flags: "s",
    services: "SIP+D2U",
    regexp: "",
    replacement: name("_sip._udp"),
  },
  {
    name: name("enum"),
    type: "NAPTR",
    ttlSeconds: 3600,
    order: 10,
    preference: 10,
    flags: "u",
    services: "E2U+sip",
    regexp: "!^\\+44(.*)$!sip:\\1@example.com!",
    replacement: ".",
  },
  { name: name("sub"), type: "NS", ttlSeconds: 3600, target: name("ns.sub") },
  { name: name("sub"), type: "NS", ttlSeconds: 3600, target: "ns2.elsewhere.example." },
  {
    name: name("sub"),
    type: "DS",
    ttlSeconds: 3600,
    keyTag: 60_485,
    algorithm: 8,
    digestType: 1,
    digest: "2BB183AF5F22588179A53B0A98631FAD1A292118",
  },
  { name: name("ns.sub"), type: "A", ttlSeconds: 3600, address: "192.0.2.99" },
  { name: name("_svc"), type: "SVCB", ttlSeconds: 3600, priority: 0, target: "svc.elsewhere.example.", params: {} },
  {
    name: name("svc"),
    type: "SVCB",
    ttlSeconds: 3600,
    priority: 16,
    target: "foo.example.org.",
    params: {
      ipv4hint: ["192.0.2.1", "192.0.2.2"],
      ipv6hint: ["2001:db8::1", "2001:db8::2"],
      alpn: ["f\\oo,bar", "h2"],
    },
  },
  { name: name("svc"), type: "ALIAS", ttlSeconds: 3600, target: name("www") },
  { name: name("un"), type: "RAW", ttlSeconds: 3600, typeNumber: 65_280, data: "0a000001" },
  { name: name("un"), type: "RAW", ttlSeconds: 3600, typeNumber: 65_281, data: "" },
  { name: name("bin"), type: "RAW", ttlSeconds: 3600, typeNumber: 16, data: "02c8ff026f6b" },
];

test("a zone file with everything is read, record for record", () => {
  const zone = readGood(rich);
  assert.deepEqual(zone.soa, {
    ttlSeconds: 3600,
    primary: "ns1.cdn.test.",
    mailbox: "hostmaster\\.dns.cdn.test.",
    serial: 2_024_010_101,
    refreshSeconds: 7200,
    retrySeconds: 1800,
    expireSeconds: 1_209_600,
    minimumSeconds: 300,
  });
  for (const [index, wanted] of richRecords.entries()) assert.deepEqual(zone.records[index], wanted);
  assert.equal(zone.records.length, richRecords.length);
  assert.deepEqual(
    zone.owners.slice(12, 16),
    ["www", "*.shop", "a\\.b", "abc.d"].map((owner) => `${owner}.cdn.test`),
  );
  assert.deepEqual(zone.warnings, []);
  assert.equal(zone.flatText, rich);
  const line = 1 + rich.split("\n").findIndex((one) => one.startsWith("old"));
  const index = zone.records.findIndex((record) => record.type === "DNAME");
  assert.equal(zone.places.lineOfRecord[index], line);
});

test("records written out again are read as the same records", () => {
  const text = `@ 1 SOA a b 1 2 3 4 5\n${richRecords.map(recordLine).join("\n")}`;
  assert.deepEqual(readGood(text).records, richRecords);
  assert.deepEqual(readGood(text.replaceAll("\n", "\r\n")).records, richRecords);
});

test("records of random octets survive being written out and read", () => {
  const seed = seedOr(0x20e5);
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const text = (max: number): string =>
    Array.from({ length: 1 + below(max) }, () => String.fromCodePoint(1 + below(0x2ff))).join("");
  const hex = (max: number): string =>
    Buffer.from(Array.from({ length: below(max) }, () => below(256))).toString("hex");
  const label = (): string =>
    Array.from({ length: 1 + below(12) }, () => {
      const octet = below(256);
      const char = String.fromCharCode(octet);
      if ('"$().;@\\'.includes(char)) return `\\${char}`;
      return octet > 0x20 && octet < 0x7f ? char : `\\${String(octet).padStart(3, "0")}`;
    }).join("");
  const whole = (): string => `${Array.from({ length: 1 + below(4) }, label).join(".")}.cdn.test.`;
  const start = (): { name: string; ttlSeconds: number } => ({ name: whole(), ttlSeconds: below(2 ** 31) });
  const makers: (() => ZoneRecord)[] = [
    () => ({ ...start(), type: "TXT", text: Array.from({ length: 1 + below(4) }, () => text(80)) }),
    () => ({ ...start(), type: "CNAME", target: whole() }),
    () => ({ ...start(), type: "MX", preference: below(65_536), exchange: whole() }),
    () => ({ ...start(), type: "CAA", flags: below(256), tag: "issue", value: text(100) }),
    () => ({ ...start(), type: "RAW", typeNumber: 256 + below(65_280), data: hex(60) }),
    () => ({
      ...start(),
      type: "SSHFP",
      algorithm: below(256),
      fingerprintType: below(256),
      fingerprint: `00${hex(40)}`,
    }),
    () => ({
      ...start(),
      type: "NAPTR",
      order: below(65_536),
      preference: below(65_536),
      flags: "u",
      services: text(60),
      regexp: text(60),
      replacement: whole(),
    }),
    () => ({
      ...start(),
      type: "SVCB",
      priority: 1 + below(65_535),
      target: whole(),
      params: {
        alpn: Array.from({ length: 1 + below(3) }, () => text(40)),
        port: below(65_536),
        ech: Buffer.from(hex(20) + "00", "hex").toString("base64"),
        other: { [`key${7 + below(65_000)}`]: hex(30) },
      },
    }),
  ];
  for (let round = 0; round < rounds(2000, 50_000); round++) {
    const record = makers[below(makers.length)]?.();
    assert(record !== undefined);
    const line = recordLine(record);
    assert.deepEqual(recordsOf(line), [record], `SEED=${seed}: ${line}`);
  }
});

test("a TTL is that of the record, else of $TTL, else of the one before, else of the SOA", () => {
  const soa = "SOA ns1 host 1 1h 10m 1d 42";
  const ttls = (text: string): (number | undefined)[] => {
    const {
      soa: { ttlSeconds },
      records,
    } = readGood(text);
    return [ttlSeconds, ...records.map((record) => record.ttlSeconds)];
  };
  assert.deepEqual(ttls(`@ ${soa}\n@ NS ns1\na 7 A 192.0.2.1\nb A 192.0.2.1\n`), [42, 42, 7, 7]);
  assert.deepEqual(ttls(`@ 9 ${soa}\n@ NS ns1\n`), [9, 9]);
  assert.deepEqual(
    ttls(`$TTL 1d2h3m4s\n@ 9 ${soa}\n@ NS ns1\n$TTL 5\na IN A 192.0.2.1\nb 0 A 192.0.2.1\n`),
    [9, 93_784, 5, 0],
  );
  assert.deepEqual(linesOf(read(`a A 192.0.2.1\n@ ${soa}\n@ NS ns1`)), [
    "1:3 the record needs a TTL: state one here, or write $TTL before it",
  ]);
});

test("an RRset has the TTL of its first record, and a warning names both lines", () => {
  const { records, warnings } = readGood(
    `${zoneStart}a 60 A 192.0.2.1\nb A 192.0.2.2\nA.cdn.test. 61 A 192.0.2.3\na 62 AAAA ::1\n`,
  );
  assert.deepEqual(
    records.slice(1).map((record) => record.ttlSeconds),
    [60, 300, 60, 62],
  );
  assert.deepEqual(warnings, [
    {
      file: "x.zone",
      line: 6,
      column: 0,
      message: "the TTL 61 of A.cdn.test. A is ignored: the first record of this RRset has 60 (x.zone:4)",
    },
  ]);
});

test("owners, classes, parentheses and quotes are read as BIND reads them", () => {
  const rows: [line: string, ...records: object[]][] = [
    ['t TXT foo"bar baz"', { text: ["foo", "bar baz"] }],
    ['t TXT "a""b"', { text: ["a", "b"] }],
    ["t TXT a\\;b\\ c;d", { text: ["a;b c"] }],
    ['t TXT ""', { text: [""] }],
    ["t ( ( A ) 192.0.2.1 )", { name: name("t"), address: "192.0.2.1" }],
    ["(t A\n\n192.0.2.1)", { name: name("t"), address: "192.0.2.1" }],
    ['t A 192.0.2.1 ; "(', { address: "192.0.2.1" }],
    ["t class1 A 192.0.2.1", { type: "A" }],
    ["t 5 in a 192.0.2.1", { type: "A", ttlSeconds: 5 }],
    ["in A 192.0.2.1", { name: name("in") }],
    ["A A 192.0.2.1", { name: name("A") }],
    ["w$x A 192.0.2.1", { name: name("w\\$x") }],
    ["x@y A 192.0.2.1", { name: name("x\\@y") }],
    ["t.CDN.Test. A 192.0.2.1", { name: "t.CDN.Test." }],
    ["é A 192.0.2.1", { name: name("\\195\\169") }],
    ["$ORIGIN sub\n@ A 192.0.2.1\n$ORIGIN .\nx.cdn.test A 192.0.2.2", { name: name("sub") }, { name: name("x") }],
    ["t ANAME w", { type: "ALIAS", target: name("w") }],
    ["t DS 1 ED25519 2 aabb", { type: "DS", algorithm: 15, digest: "aabb" }],
    ["t TYPE1 192.0.2.1", { type: "A" }],
    ["t A \\# 4 c0000201", { type: "A", address: "192.0.2.1" }],
    ["t AAAA \\# 16 20010db8 00000000 00000000 00000053", { type: "AAAA", address: "2001:db8:0:0:0:0:0:53" }],
    ["t MX \\# 7 000a 01 6d 01 78 00", { type: "MX", preference: 10, exchange: "m.x." }],
    ["t NS \\# 5 03612e6200", { type: "NS", target: "a\\.b." }],
    ["t TXT \\# 3 026869", { type: "RAW", typeNumber: 16, data: "026869" }],
    [
      "t HTTPS \\# 19 0001 00 0001 0006 026832026833 0003 0002 01bb",
      { type: "HTTPS", priority: 1, target: ".", params: { alpn: ["h2", "h3"], port: 443 } },
    ],
    ['t HTTPS 1 . key1="\\002h2" key3=\\001\\187', { params: { alpn: ["h2"], port: 443 } }],
    ["t HTTPS 1 . dohpath=/q{?dns} ohttp", { params: { other: { key7: "2f717b3f646e737d", key8: "" } } }],
    ["t HTTPS 1 . mandatory=key3,key7 port=1 key7=a", { params: { mandatory: ["port", "key7"] } }],
    ["t HINFO AMD64 Linux", { type: "RAW", typeNumber: 13, data: "05414d443634054c696e7578" }],
    ["t RP a.b. @", { type: "RAW", typeNumber: 17, data: "01610162000363646e047465737400" }],
    ["t URI 10 1 ftp://x", { type: "RAW", typeNumber: 256, data: "000a00016674703a2f2f78" }],
    ["t EUI48 00-00-5e-00-53-2a", { type: "RAW", typeNumber: 108, data: "00005e00532a" }],
    ["t CERT pkix 0 DSA AQIDBA==", { type: "RAW", typeNumber: 37, data: "000100000301020304" }],
    ["t CDS 0 0 0 00", { type: "RAW", typeNumber: 59, data: "0000000000" }],
    ["t DNSKEY 257 3 13 AQID BAUG", { type: "RAW", typeNumber: 48, data: "0101030d010203040506" }],
    ['t CAA 0 issue "\\255"', { type: "RAW", typeNumber: 257, data: "00056973737565ff" }],
    ['t NAPTR 1 2 u "\\255" "" .', { type: "RAW", typeNumber: 35, data: "00010002017501ff0000" }],
  ];
  for (const [line, ...wanted] of rows) {
    const records = recordsOf(line);
    assert.equal(records.length, wanted.length, line);
    for (const [index, parts] of wanted.entries()) assert.partialDeepStrictEqual(records[index], parts, line);
  }
});

test("$GENERATE counts as BIND does", () => {
  const rows: [line: string, ...made: string[]][] = [
    ["$GENERATE 1-5/2 h$ A 192.0.2.$", "h1 192.0.2.1", "h3 192.0.2.3", "h5 192.0.2.5"],
    ["$GENERATE 0-0 $ 1h IN PTR p\\$$$${3}.", "0 p\\$\\$3."],
    ["$GENERATE 10-10 h${-3} A 192.0.2.${+5,3,d}", ""],
    ["$GENERATE 8-8 o${0,4,o}-${0,4,x}-${2,2,X}-${0,0}-$ CNAME x.", "o0010-0008-0A-8-8 x."],
    ["$GENERATE 18-18 a CNAME ${0,2,n}x.", "a 2.1x."],
    ["$GENERATE 171-171 a CNAME ${0,1,N}.x.", "a B.A.x."],
    ["$GENERATE 1-1 a CNAME ${0,3,n}.x.", "a 1.0.x."],
    ["$GENERATE 1-1 a CNAME ${0,4,n}x.", "a 1.0.x."],
    ["$GENERATE 1-1 a CNAME ${0,5,n}.x.", "a 1.0.0.x."],
  ];
  for (const [line, ...wanted] of rows) {
    if (wanted[0] === "") {
      assert.match(
        linesOf(read(zoneStart + line))[0] ?? "",
        /for 10: the address must be an IPv4 address \(got "192\.0\.2\.015"\)/,
      );
      continue;
    }
    const made = recordsOf(line).map((record) => {
      const data = "address" in record ? record.address : "target" in record ? record.target : "";
      return `${record.name.replace(/\.cdn\.test\.$/, "")} ${data}`;
    });
    assert.deepEqual(made, wanted, line);
  }
  assert.deepEqual(recordsOf('$GENERATE 1-2 q$ 7 TXT "\\"two words $\\" $"').map(recordLine), [
    'q1.cdn.test. 7 IN TXT "two words 1" "1"',
    'q2.cdn.test. 7 IN TXT "two words 2" "2"',
  ]);
  assert.deepEqual(recordsOf('$GENERATE 1-1 q$ TXT "a $" b$').map(recordLine), ['q1.cdn.test. 300 IN TXT "a 1" "b1"']);
  assert.equal(recordsOf("$GENERATE 1-65536 h$ A 192.0.2.1").length, 65_536);
});

test("each problem says the line, the column, what is wrong and what is allowed", () => {
  const label64 = "a".repeat(64);
  const long = `${"a".repeat(50)}.`.repeat(5);
  const rows: [line: string, wanted: string | RegExp][] = [
    ["a 4x A 192.0.2.1", '4:3 a TTL must be 0-2147483647 seconds, or a time such as 1w2d3h4m5s (got "4x")'],
    ["a 2147483648 A 192.0.2.1", /^4:3 a TTL must be .* \(got "2147483648"\)$/],
    ["a 4000w A 192.0.2.1", /^4:3 a TTL must be .* \(got "4000w"\)$/],
    ["$TTL x", /^4:6 a TTL must be .* \(got "x"\)$/],
    ["$TTL 5 6", '4:8 unexpected "6" at the end of the directive'],
    ["$TTL", "4:1 a TTL is missing"],
    ["$FOO x", '4:1 "$FOO" is not a directive (allowed: $ORIGIN, $TTL, $INCLUDE, $GENERATE)'],
    ["$ORIGIN a..b", '4:9 "a..b" has an empty label'],
    ["$INCLUDE x", /^4:1 \$INCLUDE is allowed only in zone files that the document names/],
    ["a CH A 192.0.2.1", '4:3 the class must be IN (got "CH")'],
    ["a 5 CLASS3 A 192.0.2.1", '4:5 the class must be IN (got "CLASS3")'],
    ["a", "4:1 a type is missing"],
    ["a FOO x", '4:3 unknown record type "FOO": write it as TYPE followed by its number (RFC 3597)'],
    ["A 192.0.2.1", /^4:3 a TTL must be .* \(got "192\.0\.2\.1"\)$/],
    ["a TYPE65536 \\# 0", '4:3 unknown record type "TYPE65536": write it as TYPE followed by its number (RFC 3597)'],
    ["a A 192.0.2.256", '4:5 the address must be an IPv4 address (got "192.0.2.256")'],
    ["a A", "4:3 an IPv4 address is missing"],
    ["a A 192.0.2.1 192.0.2.2", '4:15 unexpected "192.0.2.2" after the data of type "A"'],
    ["a AAAA 192.0.2.1", '4:8 the address must be an IPv6 address (got "192.0.2.1")'],
    ["a AAAA fe80::1%eth0", /must be an IPv6 address \(got "fe80::1%eth0"\)$/],
    ["a MX 65536 b", '4:6 a preference must be a whole number from 0 to 65535 (got "65536")'],
    ["a MX -1 b", '4:6 a preference must be a whole number from 0 to 65535 (got "-1")'],
    ["a MX 10", "4:6 a mail server's name is missing"],
    ["a SRV 1 2 x .", '4:11 a port must be a whole number from 0 to 65535 (got "x")'],
    [`a CNAME ${label64}`, /^4:9 "a+\.\.\." has a label longer than 63 octets$/],
    [`${long} A 192.0.2.1`, /^4:1 "[a.]+", with the origin, is longer than 255 octets$/],
    [`${long.slice(0, -1)} A 192.0.2.1`, /^4:1 "[a.]+", with the origin, is longer than 255 octets$/],
    ["a..b A 192.0.2.1", '4:1 "a..b" has an empty label'],
    [".a A 192.0.2.1", '4:1 ".a" has an empty label'],
    [
      "a\\256 A 192.0.2.1",
      '4:1 "a\\\\256" has an invalid escape: a backslash must be followed by a character or by three digits up to 255',
    ],
    ["a\\25 A 192.0.2.1", /^4:1 .* has an invalid escape/],
    ['a CNAME ""', "4:10 a name must not be empty: write @ for the origin"],
    ['a CNAME "b"', '4:10 a name must not be in quotes (got "b")'],
    ["x.other. A 192.0.2.1", '4:1 "x.other." lies outside the zone cdn.test.'],
    ["x\\.cdn.test. A 192.0.2.1", '4:1 "x\\\\.cdn.test." lies outside the zone cdn.test.'],
    [`a TXT ${"x".repeat(256)}`, /^4:7 a string must not be longer than 255 octets \(got 256: "x+\.\.\."\)$/],
    [`a TXT ${"é".repeat(128)}`, /^4:7 a string must not be longer than 255 octets \(got 256: "é+\.\.\."\)$/],
    [
      `a TXT ${"xxxxxxxx ".repeat(7300)}`,
      /^4:\d+ the strings must not be longer than 65535 octets with their lengths \(got 65700\)$/,
    ],
    ['a TXT "x\\2"', /^4:8 .*has an invalid escape/],
    ['a TXT "open', '4:7 the quoted string "open" must be closed on its line'],
    ["a A ( 192.0.2.1", "4:5 this ( is never closed"],
    ["a A 192.0.2.1 )", "4:15 this ) has no matching ("],
    ["a TXT x\\", "4:8 a backslash must not end a line"],
    ["a CAA 256 issue x", '4:7 flags must be a whole number from 0 to 255 (got "256")'],
    ["a CAA 0 is-sue x", '4:9 a tag must be 1-15 letters or digits (got "is-sue")'],
    ["a NAPTR 1 1 u- x x .", '4:13 flags must be 0-16 letters or digits (got "u-")'],
    ["a TLSA 3 1 1 xyz", '4:14 the data must be hexadecimal, two digits per octet (got "xyz")'],
    ["a TLSA 3 1 1 abc", /^4:14 the data must be hexadecimal, two digits per octet \(got "abc"\)/],
    ["a TLSA 3 1 1", "4:12 the data is missing"],
    ["a DS 1 FOO 1 aa", '4:8 an algorithm must be a whole number from 0 to 255 (got "FOO")'],
    ["a DNSKEY 257 3 8 A", '4:18 the data must be base64 (got "A")'],
    ["a EUI48 00-00", '4:9 an identifier must be 6 octets separated by hyphens, such as 00-00-5e-… (got "00-00")'],
    ["a RRSIG A 8 2 300 x", /^4:3 "RRSIG": type 46 is made by a DNSSEC signer, and nearcast serves zones unsigned/],
    ["a NSEC b A", /^4:3 "NSEC": type 47 is made by a DNSSEC signer/],
    ["a TYPE50 \\# 0", /^4:3 "TYPE50": type 50 is made by a DNSSEC signer/],
    ["a ANY x", '4:3 "ANY": type 255 is not a type that a zone can contain (allowed: 1-127 except 41, 256-65535)'],
    ["a OPT x", /^4:3 "OPT": type 41 is not a type that a zone can contain/],
    ["a LOC 52 N 4 E 0m", '4:3 write data of type "LOC" as \\# LENGTH HEX (RFC 3597)'],
    ["a TYPE300 x", /^4:3 write data of type "TYPE300" as/],
    ["a TYPE300 \\# 2 aa", "4:14 the length is 2, but 1 octet follows"],
    ["a TYPE300 \\# x aa", '4:14 the length of the rdata must be a whole number from 0 to 65535 (got "x")'],
    ["a A \\# 3 0a0000", '4:10 these octets are not valid data of type "A"'],
    ["a MX \\# 4 000ac00c", /these octets are not valid data of type "MX"$/],
    ["a HTTPS \\# 7 0001000001ffff", /these octets are not valid data of type "HTTPS"$/],
    ["a HTTPS 1 . foo=1", /^4:13 "foo=1" is not a parameter: write key=value with one of mandatory, alpn/],
    ["a HTTPS 1 . key65535=1", /^4:13 "key65535=1" is not a parameter/],
    ["a HTTPS 1 . port=1 port=2", "4:20 the parameter port appears twice: keep one"],
    ["a HTTPS 1 . port=1 key3=\\000\\001", "4:20 the parameter key3 appears twice: keep one"],
    ["a HTTPS 1 . port=65536", '4:13 port: must be a whole number from 0 to 65535 (got "65536")'],
    ["a HTTPS 1 . port", "4:13 port: must have a value"],
    ['a HTTPS 1 . alpn=""', "4:13 alpn: must have a value"],
    ["a HTTPS 1 . alpn=h2,,h3", '4:13 alpn: must be a comma-separated list without empty values (got "h2,,h3")'],
    ["a HTTPS 1 . no-default-alpn=1", "4:13 no-default-alpn: must not have a value"],
    ["a HTTPS 1 . ipv4hint=::1", '4:13 ipv4hint: must be IPv4 addresses (got "::1")'],
    ["a HTTPS 1 . ipv6hint=192.0.2.1", '4:13 ipv6hint: must be IPv6 addresses (got "192.0.2.1")'],
    ["a HTTPS 1 . ech=%", '4:13 ech: must be base64 (got "%")'],
    ["a HTTPS 1 . mandatory=foo", '4:13 mandatory: "foo" is not a SvcParamKey'],
    ["a HTTPS 1 . key4=\\001", "4:13 key4: its octets are not a valid value of this key"],
    ['a HTTPS 1 . alpn="\\200"', /^4:13 alpn: must be UTF-8 \(got ".+"\)$/],
    ["a HTTPS 1 . port=\\9", /^4:13 "\\\\9" has an invalid escape/],
    ["@ SOA a b 1 2 3 4 5", "4:1 a zone has only one SOA: remove this second one"],
    ["a SOA a b 1 2 3 4 5", '4:1 the SOA must be at the apex cdn.test. (got "a.cdn.test.")'],
    ["@ SOA a b 4294967296 2 3 4 5", '4:11 the serial must be a whole number from 0 to 4294967295 (got "4294967296")'],
    ["@ SOA a b 1 2 3 4", "4:17 the minimum is missing"],
    ["@ SOA a b 1 2 3 4 5 6", '4:21 unexpected "6" after the SOA data'],
    ["@ SOA \\# 1 00", "4:12 these octets are not valid data of type SOA"],
    [
      "$GENERATE 5-1 a$ A 192.0.2.1",
      /^4:11 a range must be start-stop or start-stop\/step, 0-2147483647, .*\(got "5-1"\)/,
    ],
    ["$GENERATE 1-2/0 a$ A 192.0.2.1", /a range must be/],
    ["$GENERATE 1-2147483648 a$ A 192.0.2.1", /a range must be/],
    ["$GENERATE 1-2 a${x} A 192.0.2.1", /^4:15 "\$\{x\}" must be \$\{offset,width,base\}, width 0-255, base one of/],
    ["$GENERATE 1-2 a${1,300} A 192.0.2.1", /must be \$\{offset,width,base\}/],
    ["$GENERATE 1-2 a${1 A 192.0.2.1", /must be \$\{offset,width,base\}/],
    ["$GENERATE 1-2 a${-2} A 192.0.2.1", "4:11 for 1: with its offset the number leaves 0-2147483647"],
    ["$GENERATE 1-2 a$ A", /the data of the records is missing$/],
    ["$GENERATE 1-2 a$ SOA a b 1 2 3 4 5", /\$GENERATE can't make a SOA: a zone has only one$/],
    ["$GENERATE 1-2 a$ A 192.0.2.$ 1", '4:1 for 1: unexpected "1" after the data of type "A"'],
    ["$GENERATE 1-2 a..$ A 192.0.2.$", '4:15 for 1: "a..1" has an empty label'],
    ['$GENERATE 1-2 a$ TXT "\\"x"', /for 1: the quoted string "x" must be closed/],
    [`$GENERATE 1-2 a$ TXT ${"x".repeat(5000)}`, /must not be longer than 4096 characters \(got " x+\.\.\."\)$/],
    ["$GENERATE 0-65536 a$ A 192.0.2.1", "4:11 $GENERATE must not make more than 65536 records in one zone"],
    [
      `$GENERATE 0-65535 a$ TXT ${"${0,255} ".repeat(10)}`,
      /\$GENERATE must not make more than 16777216 characters in one zone$/,
    ],
  ];
  for (const [line, wanted] of rows) {
    const [first = "", ...more] = linesOf(read(`${zoneStart}${line}\n`));
    assert(typeof wanted === "string" ? first === wanted : wanted.test(first), `${line}\n${first}`);
    assert.deepEqual(more, [], line);
  }
  assert.match(linesOf(read(" A 192.0.2.1"))[0] ?? "", /^1:2 the record needs an owner/);
  assert.deepEqual(linesOf(read("")), [
    "0:0 the zone needs a SOA record at cdn.test.",
    "0:0 the zone needs at least one NS record at cdn.test.",
  ]);
  assert.deepEqual(linesOf(read("$TTL 1\n@ SOA a b 1 2 3 4 5\nsub NS a")), [
    "0:0 the zone needs at least one NS record at cdn.test.",
  ]);
  assert.deepEqual(linesOf(read("x", "a..b")), ['0:0 "a..b" has an empty label']);
});

test("all problems are reported at once, twenty of them at most, and a broken line does not hide the next", () => {
  const outcome = read(`${zoneStart}a A x\n  A y\nb "open\nc A )\n\nd..d A z\n  A ( 192.0.2.1\n`);
  assert.deepEqual(
    linesOf(outcome).map((line) => line.split(" ", 1)[0]),
    ["4:5", "5:5", "6:3", "7:5", "9:1", "10:5"],
  );
  const many = read(zoneStart + "a A x\n".repeat(1000));
  assert.equal(linesOf(many).length, 20);
});

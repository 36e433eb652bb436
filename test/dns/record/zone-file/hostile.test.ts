import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { readZoneFile } from "#record/zone-file/read-zone-file.ts";
import { rounds, seedOr } from "../../../support/long.ts";
import { linesOf, read, zoneStart } from "./zone-text.ts";

const seeds = [
  zoneStart,
  "$ORIGIN sub\n",
  "$TTL 1h30m\n",
  "$INCLUDE other sub\n",
  "$GENERATE 1-3 h$ A 192.0.2.$\n",
  '$GENERATE 0-9/3 ${0,3,n}.x${-0,2,X} 60 IN TXT "a $ $$ \\$" b\n',
  "a\\.b.\\065 300 IN A 192.0.2.1\n  AAAA ( 2001:db8::1 ) ; comment\n",
  '@ TXT "a b" c\\;d "\\"" "\\255" é\n',
  'x HTTPS 1 . alpn="f\\\\\\\\oo\\\\,bar,h2" port=443 key65000="\\001" mandatory=port\n',
  "x SVCB \\# 10 0001000003000201bb\n",
  "y TYPE65280 \\# 4 0a00 0001\n",
  "m MX 10 mail\n  MX \\# 5 000a016100\n",
  'n NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:\\\\1!" .\n',
  "d DS 1 8 2 aabb ccdd\n  DNSKEY 257 3 13 AQID\n",
  's SRV 1 2 3 t\nt CAA 0 issue "x; y"\nh HINFO a b\n',
  "*.w CNAME @\nold DNAME new.example.\nal ALIAS w\n",
];
const problemsMax = 20;
const pieces = [
  ...'"\\()$;@.\t\n\r =,{}#\0\ud800é'.split(""),
  "\\\n",
  "\\999",
  "$GENERATE 0-65535 ",
  "${",
  "99999999999",
  "IN ",
  "TYPE",
  "\\# ",
  "a".repeat(300),
  "\u009b",
];

test("no text makes the reader throw, or make more than its bounds", () => {
  const seed = seedOr(0x5eed);
  const random = seededRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = (list: readonly string[]): string => list[below(list.length)] ?? "";
  let good = 0;
  for (let round = 0; round < rounds(20_000, 1_000_000); round++) {
    let text = zoneStart + Array.from({ length: 1 + below(4) }, () => pick(seeds.slice(1))).join("");
    for (let change = below(5); change > 0; change--) {
      const at = below(text.length + 1);
      const size = below(3) === 0 ? below(20) : below(2);
      text =
        text.slice(0, at) +
        (below(4) === 0 ? text.slice(at, at + size).repeat(3) : pick(pieces)) +
        text.slice(at + size);
    }
    const include = (path: string): { ok: true; file: string; text: string } => ({
      ok: true,
      file: path,
      text: pick(seeds.slice(1)),
    });
    const recordsMax = 500;
    let outcome;
    try {
      outcome = readZoneFile({ file: "x", text, zone: "cdn.test", include, recordsMax });
    } catch (error) {
      throw new Error(`SEED=${seed}, round ${round}: ${JSON.stringify(text)}`, { cause: error });
    }
    if (outcome.ok) {
      good += 1;
      assert(outcome.value.records.length <= recordsMax);
      assert.equal(outcome.value.owners.length, outcome.value.records.length);
      const again = readZoneFile({ file: "x", text: outcome.value.flatText, zone: "cdn.test" });
      assert(again.ok, `SEED=${seed}, round ${round}: ${linesOf(again).join("\n")}\n${JSON.stringify(text)}`);
      assert.deepEqual(again.value.records, outcome.value.records, `SEED=${seed}, round ${round}`);
    } else {
      assert(outcome.problems.length > 0 && outcome.problems.length <= problemsMax);
      for (const { message } of outcome.problems) {
        assert(message.length < 400 && !/\p{Cc}/u.test(message), `SEED=${seed}, round ${round}: ${message}`);
      }
    }
  }
  assert(good > 1000, `only ${good} texts were good: the rest can't have tested much`);
});

test("texts made to cost much are read, or refused, in linear work", () => {
  const megabyte = 1024 * 1024;
  const rows: [what: string, text: string][] = [
    ["parentheses", "(".repeat(megabyte)],
    ["closed ones", `${"(".repeat(megabyte)}${")".repeat(megabyte)}`],
    ["quotes", '"'.repeat(megabyte)],
    ["a quote in each line", '"\n'.repeat(megabyte)],
    ["backslashes", "\\".repeat(megabyte)],
    ["escapes", `a TXT ${"\\000".repeat(megabyte)}`],
    ["dots", ".".repeat(megabyte)],
    ["escaped dots", `${"\\.".repeat(megabyte)} A 192.0.2.1`],
    ["a long owner", `${"a.".repeat(megabyte)} A 192.0.2.1`],
    ["a long type", `a ${"A".repeat(megabyte)} 192.0.2.1`],
    ["a long TTL", `a ${"1h".repeat(megabyte)} A 192.0.2.1`],
    ["a long number", `a MX ${"1".repeat(megabyte)} b`],
    ["long data", `a TLSA 1 1 1 ${"ab".repeat(megabyte)}`],
    ["many fields of it", `a TLSA 1 1 1 ${"ab ".repeat(megabyte)}`],
    ["a long list", `a HTTPS 1 . alpn=${"a,".repeat(megabyte)}b`],
    ["many parameters", `a HTTPS 1 . ${Array.from({ length: 60_000 }, (_, key) => `key${key + 7}=a`).join(" ")}`],
    ["many strings", `a TXT ${'"" '.repeat(megabyte)}`],
    ["comments", ";\n".repeat(megabyte)],
    ["placeholders", `$GENERATE 0-65535 a A ${"$".repeat(4001)}`],
    ["a wide placeholder", `$GENERATE 0-65535 a A ${"${0,255}".repeat(500)}`],
    ["many origins", "$ORIGIN a.cdn.test.\n".repeat(50_000)],
    ["records of one name", "a A 192.0.2.1\n".repeat(100_000)],
    ["records of many TTLs", Array.from({ length: 50_000 }, (_, ttl) => `a ${ttl} A 192.0.2.1\n`).join("")],
  ];
  for (const [what, text] of rows) {
    const outcome = read(zoneStart + text);
    if (outcome.ok) assert(outcome.value.warnings.length <= problemsMax, what);
    else assert(outcome.problems.length > 0 && outcome.problems.every(({ message }) => message.length < 400), what);
  }
});

test("a zone has as many records as it may have, and no more", () => {
  const line = "a A 192.0.2.1\n";
  const outcome = (lines: number) =>
    readZoneFile({ file: "x", text: zoneStart + line.repeat(lines), zone: "cdn.test", recordsMax: 10 });
  assert(outcome(9).ok);
  assert.deepEqual(linesOf(outcome(10)), [
    "13:1 the zone files have too many records: at most 10 are left for this zone",
  ]);
  const many = read(zoneStart + "$GENERATE 1-65536 a$ A 192.0.2.1\n$GENERATE 1-1 b$ A 192.0.2.1\n");
  assert.deepEqual(linesOf(many), ["5:11 $GENERATE must not make more than 65536 records in one zone"]);
});

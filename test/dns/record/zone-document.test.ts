import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";
import { problemLines } from "#base/schema.ts";
import { inlineZoneFiles } from "#document/inline-zone-files.ts";
import { parseFleet } from "#document/read-document.ts";
import type { ReadZoneText } from "#record/written-zones.ts";
import { fleetValue } from "../../support/fleet.ts";

const start = "$TTL 300\n@ SOA ns1 host 9 2 3 4 50\n@ NS ns1\nns1 A 192.0.2.53\n";
const rest = fleetValue();
delete rest["zones"];

/** A document of these zones, written as its author did. */
function documentOf(zones: string): string {
  return `# ours\nzones:\n${zones}\n${stringify(rest)}`;
}

function linesOf(text: string, files?: ReadZoneText): string[] {
  const parsed = parseFleet(text, files === undefined ? {} : { readZoneText: files });
  return parsed.ok ? [] : problemLines(parsed.problems);
}

function among(files: Readonly<Record<string, string>>): ReadZoneText {
  return (path) => {
    const text = files[path];
    return text === undefined ? { ok: false, problem: "is not there" } : { ok: true, file: path, text };
  };
}

test("a zone's text becomes records, and the rest of the program sees nothing else", () => {
  const parsed = parseFleet(
    documentOf(`  - name: CDN.test.\n    text: |\n      ${start.replaceAll("\n", "\n      ")}\n`),
  );
  assert(parsed.ok, parsed.ok ? "" : problemLines(parsed.problems).join("\n"));
  assert.deepEqual(parsed.value.zones, [
    {
      name: "CDN.test.",
      ttlSeconds: 300,
      negativeTtlSeconds: 50,
      nameservers: [],
      records: [
        { name: "CDN.test.", type: "NS", ttlSeconds: 300, target: "ns1.CDN.test." },
        { name: "ns1.CDN.test.", type: "A", ttlSeconds: 300, address: "192.0.2.53" },
      ],
      soa: {
        ttlSeconds: 300,
        primary: "ns1.CDN.test.",
        mailbox: "host.CDN.test.",
        serial: 9,
        refreshSeconds: 2,
        retrySeconds: 3,
        expireSeconds: 4,
        minimumSeconds: 50,
      },
    },
  ]);
  const [zone] = parsed.value.zones;
  assert(Object.isFrozen(parsed.value.zones) && Object.isFrozen(zone?.records) && Object.isFrozen(zone?.records[0]));
});

test("a zone is its records, or a text, or a file; other keys beside those are reported", () => {
  const text = JSON.stringify(start);
  assert.deepEqual(linesOf(documentOf(`  - { name: cdn.test, text: ${text}, ttlSeconds: 5, records: [] }`)), [
    "zones[0].ttlSeconds (line 3): must be removed: the zone file in text replaces it",
    "zones[0].records (line 3): must be removed: the zone file in text replaces it",
  ]);
  assert.deepEqual(linesOf(documentOf(`  - { name: cdn.test, text: ${text}, file: x }`)), [
    "zones[0].file (line 3): must be removed: the zone file in text replaces it",
  ]);
  assert.deepEqual(linesOf(documentOf("  - { name: cdn.test, file: x.zone }")), [
    'zones[0].file (line 3): "x.zone" is a file on your machine: publish with `nearcast fleet apply`, which ' +
      "replaces it with its text",
  ]);
  assert.deepEqual(linesOf(documentOf("  - { name: cdn.test, file: x.zone }"), among({})), [
    'zones[0].file (line 3): "x.zone" is not there',
  ]);
  assert.deepEqual(
    linesOf(documentOf(`  - { name: cdn.test, text: ${JSON.stringify(`${start}x A y\n$INCLUDE z\n`)} }`)),
    [
      'zones[0].text, line 5, column 5: the address must be an IPv4 address (got "y")',
      "zones[0].text, line 6, column 1: $INCLUDE is allowed only in zone files that the document names with `file`",
    ],
  );
  assert.deepEqual(
    linesOf(documentOf("  - { name: cdn.test, file: a }"), among({ a: `${start}$INCLUDE b\n`, b: "x A y" })),
    ['b, line 1, column 5: the address must be an IPv4 address (got "y")'],
  );
  assert.deepEqual(linesOf(documentOf('  - { name: cdn.test, text: "" }')), [
    "zones[0].text (line 3): the zone needs a SOA record at cdn.test.",
    "zones[0].text (line 3): the zone needs at least one NS record at cdn.test.",
  ]);
});

test("texts together have a bound, also where one is used again and again", () => {
  const line = ";".repeat(1023) + "\n";
  const zones = Array.from(
    { length: 6 },
    (_, index) => `  - { name: z${index}.test, text: ${index === 0 ? "&t " : ""}T }`,
  );
  const text = JSON.stringify(start.replaceAll("ns1", "ns1.example.") + line.repeat(1000)).replace(
    "ns1.example. A",
    "a A",
  );
  const aliased = documentOf(
    zones.map((zone, index) => zone.replace("T }", index === 0 ? `${text} }` : "*t }")).join("\n"),
  );
  assert.deepEqual(linesOf(aliased), [
    "zones[4].text (line 7): all zone files together must not be larger than 4194304 bytes",
  ]);
  const generated = `@ 1 SOA a.x. b 1 2 3 4 5\n@ NS a.x.\n$GENERATE 1-60000 h$ A 192.0.2.1\n`;
  const many = Array.from(
    { length: 5 },
    (_, index) => `  - { name: z${index}.test, text: ${JSON.stringify(generated)} }`,
  );
  assert.deepEqual(linesOf(documentOf(many.join("\n"))), [
    "zones[3].text, line 3, column 1: for 19997: the zone files have too many records: at most 19997 are left " +
      "for this zone",
    "zones[4].text, line 2, column 1: the zone files have too many records: at most 0 are left for this zone",
  ]);
});

test("a long zone file is taken where as much YAML is not", () => {
  const records = Array.from({ length: 40_000 }, (_, index) => `host-${index} A 192.0.2.${index % 256}\n`).join("");
  assert.deepEqual(linesOf(stringify({ ...rest, zones: [{ name: "cdn.test", text: start + records }] })), []);
  const value = Array.from({ length: 25_000 }, (_, index) => ({
    name: `host-${index}`,
    type: "A",
    address: "192.0.2.1",
  }));
  assert.deepEqual(linesOf(stringify({ ...rest, zones: [{ name: "cdn.test", records: value }] })), [
    "the document is too large: at most 1048576 bytes are allowed, not counting zone files",
  ]);
});

test("files are put into the document, and everything else stays", () => {
  const files = among({
    "zones/cdn.zone": `${start}$INCLUDE hosts sub\nlast A 192.0.2.9 ; the end`,
    hosts: '  ; begins with spaces\nh TXT "tab\there: é \'x\' # : - | >" \\\\ "trailing  "   \n\n\n',
    "one.zone": " \n\n$TTL 5\r\n@ SOA a.x. b 1 2 3 4 5\r\n@ NS a.x.\r\n",
    "odd.zone": `@ 1 SOA a.x. b 1 2 3 4 5\n@ NS a.x.\nt TXT "a\u0007b\u0085c"\n`,
  });
  const written = documentOf(`  # the first
  - name: cdn.test # its name
    file: zones/cdn.zone # its file
  - { name: one.test, file: one.zone }
  - name: odd.test
    "file": odd.zone
  # by hand
  - name: own.test
    nameservers: [{ name: ns.example. }]
    records:
      - { name: www, type: A, address: 192.0.2.1 }`);
  const expected = parseFleet(written, { readZoneText: files });
  assert(expected.ok, expected.ok ? "" : problemLines(expected.problems).join("\n"));
  const whole = inlineZoneFiles(written, files);
  const parsed = parseFleet(whole);
  assert(parsed.ok, parsed.ok ? "" : `${problemLines(parsed.problems).join("\n")}\n${whole}`);
  assert.deepEqual(parsed.value, expected.value);
  for (const kept of ["# ours", "# the first", "# its name", "# by hand", "last A 192.0.2.9 ; the end"]) {
    assert(whole.includes(kept), `${kept}\nin:\n${whole}`);
  }
  assert.match(whole, /\n {4}text: \|.*\n {6}\$TTL 300\n {6}@ SOA ns1 host 9 2 3 4 50\n/);
  assert(!whole.includes("file:") && !whole.includes("$INCLUDE"));
  // What is whole already stays byte for byte.
  assert.equal(inlineZoneFiles(whole, files), whole);
});

test("a file that is gone, or no longer good, when it is put in is reported", () => {
  const written = documentOf("  - { name: cdn.test, file: a }");
  assert.throws(() => inlineZoneFiles(written, among({})), /^Error: a is not there$/);
  assert.throws(() => inlineZoneFiles(written, among({ a: "x" })), /^Error: a has problems now: a type is missing$/);
});

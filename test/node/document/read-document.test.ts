import assert from "node:assert/strict";
import { test } from "node:test";
import { stringify } from "yaml";
import { problemLines } from "#base/schema.ts";
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import { checkFleet, fleetBytesMax, parseFleet } from "#document/read-document.ts";
import { fleetValue, fleetWith, siteValue } from "../../support/fleet.ts";

function linesOf(parts: Record<string, unknown>): string[] {
  const checked = checkFleet(fleetValue(parts));
  return checked.ok ? [] : problemLines(checked.problems);
}

const full = `
zones:
  - name: cdn.example.
    ttlSeconds: 600
    negativeTtlSeconds: 30
    contact: dns@example.org
    nameservers:
      - { name: ns1, addresses: [192.0.2.53, "2001:db8::53"] }
      - { name: ns2.example.net. }
    records:
      - { name: "@", type: A, address: 192.0.2.1 }
      - { name: www, type: CNAME, target: "@" }
      - { name: "*.shop", type: AAAA, address: "2001:db8::1", ttlSeconds: 60 }
      - { name: "@", type: TXT, text: ["v=spf1 -all"] }
      - { name: "@", type: MX, preference: 10, exchange: mail.example.net. }
      - { name: "@", type: CAA, tag: issue, value: letsencrypt.org }
      - { name: _https._tcp, type: SRV, priority: 1, weight: 2, port: 443, target: "www" }
      - { name: sub, type: NS, target: ns.example.net. }
sites:
  - name: fra
    place: { latitude: 50.1, longitude: 8.6, city: Frankfurt, country: DE }
    addresses: [192.0.2.1, "2001:db8::1"]
    capacity: { requestsPerSecond: 1000 }
    state: draining
    nodes: [{ name: fra1, http: "http://10.0.0.1:8080" }]
anycast: { addresses: [198.51.100.1] }
hosts:
  - { name: img.cdn.example, kind: images, sourcePrefix: shop/ }
  - { name: static.cdn.example, kind: assets, origin: "https://origin.example.org/base" }
steering:
  - { name: img.cdn.example, policy: geo, overrides: [{ country: JP, site: fra }, { cidr: 10.0.0.0/8, site: fra }] }
  - { name: any.cdn.example, policy: anycast }
  - { name: w.cdn.example, policy: weighted, weights: { fra: 3 } }
  - { name: f.cdn.example, policy: fixed, sites: [fra] }
presets: { card: { w: 400, h: 300, fit: crop, auto: format } }
limits: { renderQueueMax: 50 }
probe: { failuresDown: 5 }
`;

test("a full document is read, its defaults filled in, and frozen", () => {
  const parsed = parseFleet(full);
  assert(parsed.ok, parsed.ok ? "" : problemLines(parsed.problems).join("\n"));
  const { value } = parsed;
  assert.equal(value.hosts[0]?.kind === "images" && value.hosts[0].freshSeconds, 3600);
  assert.equal(value.hosts[1]?.kind === "assets" && value.hosts[1].timeoutMs, 10_000);
  assert.equal(value.limits.renderQueueMax, 50);
  assert.equal(value.limits.sourceBytesMax, 104_857_600);
  assert.equal(value.probe.failuresDown, 5);
  assert.equal(value.probe.successesUp, 2);
  assert(Object.isFrozen(value.zones[0]?.records));
});

test("contradictions are reported with their path", () => {
  const zone = (records: object[], more: object = {}) => ({
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1" }], records, ...more }],
  });
  const steering = (more: object) => ({ steering: [{ name: "img.cdn.test", policy: "geo", ...more }] });
  const a = { name: "x", type: "A", address: "192.0.2.1" };
  const rows: [what: string, parts: Record<string, unknown>, line: string | RegExp][] = [
    [
      "zone twice",
      { zones: ["a.test", "A.test."].map((name) => ({ name, nameservers: [{ name: "ns1" }] })) },
      'zones[1].name: "a.test" appears twice',
    ],
    [
      "site twice",
      { sites: [siteValue("fra"), siteValue("fra", { nodes: [{ name: "b", http: "http://b" }] })] },
      'sites[1].name: "fra" appears twice',
    ],
    [
      "node twice",
      { sites: [siteValue("fra"), siteValue("nyc", { nodes: [{ name: "fra1", http: "http://b" }] })] },
      'sites[1].nodes[0].name: "fra1" appears twice',
    ],
    [
      "host twice",
      { hosts: ["a.test", "A.TEST."].map((name) => ({ name, kind: "images" })) },
      'hosts[1].name: "a.test" appears twice',
    ],
    [
      "preload without names below",
      { hosts: [{ name: "a.test", kind: "images", hsts: { preload: true } }] },
      "hosts[0].hsts.includeSubDomains: must be true with preload",
    ],
    [
      "preload for a short time",
      {
        hosts: [{ name: "a.test", kind: "images", hsts: { maxAgeSeconds: 9, includeSubDomains: true, preload: true } }],
      },
      "hosts[0].hsts.maxAgeSeconds: 9 must be at least 31536000 with preload",
    ],
    [
      "steered twice",
      { steering: ["a.cdn.test", "A.cdn.test"].map((name) => ({ name, policy: "geo" })) },
      'steering[1].name: "a.cdn.test" appears twice',
    ],
    [
      "outside all zones",
      { steering: [{ name: "img.other.test", policy: "geo" }] },
      'steering[0].name: "img.other.test" lies in none of the zones: add its zone, or correct the name',
    ],
    [
      "steered and recorded",
      { ...zone([{ ...a, name: "img" }]), ...steering({}) },
      /^steering\[0\]\.name: .*also has an A/,
    ],
    ["unknown site", steering({ sites: ["tyo"] }), 'steering[0].sites[0]: "tyo" is not one of the sites'],
    [
      "unknown weight",
      steering({ policy: "weighted", weights: { tyo: 1 } }),
      'steering[0].weights.tyo: "tyo" is not one of the sites',
    ],
    [
      "unknown override",
      steering({ overrides: [{ country: "JP", site: "tyo" }] }),
      'steering[0].overrides[0].site: "tyo" is not one of the sites',
    ],
    [
      "override of neither",
      steering({ overrides: [{ site: "fra" }] }),
      "steering[0].overrides[0]: must have exactly one of cidr, asn and country",
    ],
    [
      "override of both",
      steering({ overrides: [{ site: "fra", country: "DE", cidr: "10.0.0.0/8" }] }),
      "steering[0].overrides[0]: must have exactly one of cidr, asn and country",
    ],
    [
      "no prefix",
      steering({ overrides: [{ site: "fra", cidr: "10.0.0.0/33" }] }),
      /^steering\[0\]\.overrides\[0\]\.cidr: "10\.0\.0\.0\/33" is too narrow/,
    ],
    [
      "no address",
      steering({ overrides: [{ site: "fra", cidr: "10.0.0/8" }] }),
      /^steering\[0\]\.overrides\[0\]\.cidr/,
    ],
    ["anycast without address", steering({ policy: "anycast" }), /^steering\[0\]\.policy: "anycast" requires/],
    ["fixed without sites", steering({ policy: "fixed" }), /^steering\[0\]\.sites: is missing/],
    [
      "record outside",
      zone([{ ...a, name: "x.other." }]),
      'zones[0].records[0].name: "x.other." lies outside the zone cdn.test',
    ],
    ["A of IPv6", zone([{ ...a, address: "::1" }]), 'zones[0].records[0].address: must be an IPv4 address (got "::1")'],
    [
      "AAAA of IPv4",
      zone([{ ...a, type: "AAAA" }]),
      'zones[0].records[0].address: must be an IPv6 address (got "192.0.2.1")',
    ],
    [
      "TXT of many octets",
      zone([{ name: "x", type: "TXT", text: ["é".repeat(200)] }]),
      "zones[0].records[0].text[0]: must not be longer than 255 octets",
    ],
    [
      "nameserver that is an alias",
      zone([{ name: "ns1", type: "CNAME", target: "x" }]),
      'zones[0].nameservers[0].name: "ns1" must not be a CNAME',
    ],
    [
      "nameserver that is steered",
      { ...zone([]), ...steering({ name: "ns1.cdn.test" }) },
      'zones[0].nameservers[0].name: "ns1" must not be steered',
    ],
    [
      "glue for a stranger",
      zone([], { nameservers: [{ name: "ns.other.net.", addresses: ["192.0.2.1"] }] }),
      /^zones\[0\]\.nameservers\[0\]\.addresses: "ns\.other\.net\." lies outside/,
    ],
    [
      "target too long",
      zone([{ name: "x", type: "MX", preference: 1, exchange: Array(4).fill("a".repeat(61)).join(".") }]),
      /^zones\[0\]\.records\[0\]: "a.*", with the zone's name, is longer than 253 characters$/,
    ],
    [
      "site outside a name's own",
      steering({ sites: ["fra"], weights: { nyc: 1 } }),
      /weights\.nyc: "nyc" is not in the sites/,
    ],
    [
      "two TTLs",
      zone([a, { ...a, address: "192.0.2.2", ttlSeconds: 5 }]),
      /^zones\[0\]\.records\[1\]\.ttlSeconds: must be 300, as in the first record of .* \(got 5\)$/,
    ],
    [
      "CNAME beside",
      zone([a, { name: "X", type: "CNAME", target: "y" }]),
      /^zones\[0\]\.records\[1\]: x\.cdn\.test has a CNAME and other records/,
    ],
    [
      "beside CNAME",
      zone([{ name: "x", type: "CNAME", target: "y" }, a]),
      /^zones\[0\]\.records\[1\]: x\.cdn\.test has a CNAME/,
    ],
    [
      "two CNAMEs",
      zone([
        { name: "x", type: "CNAME", target: "y" },
        { name: "x", type: "CNAME", target: "z" },
      ]),
      /records\[1\]: x\.cdn\.test has a CNAME/,
    ],
    ["CNAME at the apex", zone([{ name: "@", type: "CNAME", target: "y" }]), /records\[0\]: cdn\.test has a CNAME/],
    [
      "owner too long",
      zone([{ ...a, name: `${"a".repeat(60)}.`.repeat(4) + "b" }]),
      /^zones\[0\]\.records\[0\]\.name: .*longer than 253/,
    ],
  ];
  for (const [what, parts, wanted] of rows) {
    const lines = linesOf(parts);
    const isThere = lines.some((line) => (typeof wanted === "string" ? line === wanted : wanted.test(line)));
    assert(isThere, `${what}: ${JSON.stringify(lines)}`);
  }
});

test("values outside their range, unknown keys and unknown kinds are reported with their path, all at once", () => {
  const lines = linesOf({
    sites: [siteValue("Fra!", { place: { latitude: 95, longitude: 8 }, adresses: [] })],
    hosts: [{ name: "a.test", kind: "pictures" }],
    probe: { intervalMs: 5 },
    colour: "red",
  });
  for (const start of [
    "sites[0].place.latitude: 95 is above the maximum of 90",
    "sites[0].adresses: is not a known key; did you mean addresses?",
    "sites[0].name: ",
    'hosts[0].kind: "pictures" is not',
    "probe.intervalMs: 5 is below the minimum of 100",
    "colour: is not a known key",
  ]) {
    assert(
      lines.some((line) => line.startsWith(start)),
      `${start}: ${lines.join("\n")}`,
    );
  }
});

test("problems of a text have their lines: what the schema finds and what the rules find", () => {
  const linesOfText = (text: string): string[] => {
    const parsed = parseFleet(text);
    return parsed.ok ? [] : problemLines(parsed.problems);
  };
  assert.deepEqual(linesOfText(full.replace("addresses: [192.0.2.1,", "adresses: [192.0.2.1,")).toSorted(), [
    "sites[0].adresses (line 22): is not a known key; did you mean addresses?",
  ]);
  assert.deepEqual(linesOfText(full.replace("sites: [fra] }", "sites: [tyo] }")), [
    'steering[3].sites[0] (line 34): "tyo" is not one of the sites',
  ]);
});

test("of a zone and one inside it, the inner one's records speak for a steered name", () => {
  const zones = [
    { name: "cdn.test", nameservers: [{ name: "ns1" }] },
    {
      name: "eu.cdn.test",
      nameservers: [{ name: "ns1" }],
      records: [{ name: "img", type: "A", address: "192.0.2.1" }],
    },
  ];
  const lines = linesOf({ zones, steering: [{ name: "img.eu.cdn.test", policy: "geo" }] });
  assert.match(lines[0] ?? "", /^steering\[0\]\.name: "img\.eu\.cdn\.test" also has/);
});

test("what is not YAML is reported with line and column, and a key that appears twice is a fault", () => {
  const broken = parseFleet("zones: [\nsites: }");
  assert(!broken.ok);
  assert.match(broken.problems[0]?.message ?? "", /line \d+, column \d+/);
  const doubled = parseFleet(`${full}\nprobe: { failuresDown: 2 }`);
  assert(!doubled.ok);
  assert.match(doubled.problems[0]?.message ?? "", /^the key probe appears twice at line \d+/);
});

test("a document made to exhaust its reader is refused soon, with a reason", () => {
  const level = (name: string, inside: string) => `${name}: &${name} [${`${inside},`.repeat(9)}]\n`;
  const bomb = ["b", "c", "d", "e", "f", "g"].reduce(
    (text, name, index) => text + level(name, `*${["a", "b", "c", "d", "e", "f"][index]}`),
    level("a", "x"),
  );
  const rows: [what: string, text: string][] = [
    ["aliases that double", bomb],
    ["an alias of itself", "a: &a [*a]"],
    ["brackets", "[".repeat(100_000)],
    ["sequences in one line", "- ".repeat(50_000)],
    ["deep mappings", Array.from({ length: 1400 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
    ["quotes", '"'.repeat(100_000)],
    ["many keys", Array.from({ length: 50_000 }, (_, index) => `k${index}: 1`).join("\n")],
  ];
  for (const [what, text] of rows) {
    const parsed = parseFleet(text);
    assert(!parsed.ok && parsed.problems.length > 0 && parsed.problems.length <= 1000, what);
    for (const { message } of parsed.problems) assert(!message.includes("\n"), `${what}: ${message}`);
  }
});

test("a document of 4 MiB is looked at, one byte more is not", () => {
  const text = stringify(fleetValue());
  const filled = `${text}#${"é".repeat((fleetBytesMax - Buffer.byteLength(text) - 2) / 2)}`;
  const padded = filled + "x".repeat(fleetBytesMax - Buffer.byteLength(filled));
  assert.equal(Buffer.byteLength(padded), fleetBytesMax);
  assert(parseFleet(padded).ok);
  const parsed = parseFleet(`${padded}x`);
  assert(!parsed.ok);
  assert.deepEqual(parsed.problems, [
    { path: "", message: "the document is too large; at most 4194304 bytes are allowed" },
  ]);
});

test("an empty document, a list and a scalar are reported as what they are", () => {
  for (const text of ["", "- 1", "x", "null", "# only a comment"]) {
    const parsed = parseFleet(text);
    assert(!parsed.ok && parsed.problems.length > 0, JSON.stringify(text));
  }
});

test("names are compared without their final dot and in lower case", () => {
  assert.equal(canonicalName("Img.CDN.test."), "img.cdn.test");
  assert.equal(ownerOf("@", "cdn.test"), "cdn.test");
  assert.equal(ownerOf("WWW", "cdn.test"), "www.cdn.test");
  assert.equal(ownerOf("Www.Other.", "cdn.test"), "www.other");
  assert.equal(fleetWith().sites.length, 2);
});

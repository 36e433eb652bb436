/** What a new document changes, in words: each row is a change of one fleet and all lines that tell of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { changeText, diffOf, isAdditive } from "#review/diff.ts";
import { leastOwnCpuMs } from "../../support/cpu.ts";
import { fleetWith } from "../../support/fleet.ts";

type Parts = Readonly<Record<string, unknown>>;

const place = { latitude: 50, longitude: 8 };
const node = (name: string, address: string, parts: Parts = {}): Parts => ({
  name,
  http: `http://${address}`,
  addresses: [address],
  ...parts,
});
const fra = { name: "fra", place, nodes: [node("fra1", "192.0.2.1")] };
const nyc = { name: "nyc", place: { ...place, city: "New York" }, nodes: [node("nyc1", "192.0.2.65")] };
const www = { name: "www", type: "A", address: "203.0.113.1" };
const txt = { name: "@", type: "TXT", text: ["hello"] };
const zone = {
  name: "cdn.test",
  nameservers: [{ name: "ns1", addresses: ["192.0.2.1"] }],
  records: [www, txt],
};
const withRecords = (...records: readonly Parts[]): Parts => ({ zones: [{ ...zone, records }] });
const img = { name: "img.cdn.test", policy: "geo", overrides: [{ country: "AU", site: "fra" }] };
const standing = {
  zones: [zone],
  sites: [fra],
  hosts: [{ name: "img.cdn.test", kind: "images" }],
  steering: [img],
  presets: { card: { w: 480 } },
};

const rows: { what: string; after: Parts; lines: readonly string[]; isAdditive?: boolean }[] = [
  { what: "nothing", after: {}, lines: [], isAdditive: true },
  {
    what: "a further site",
    after: { sites: [fra, nyc] },
    lines: ["+ site nyc: New York", "+ node nyc1: site nyc, 192.0.2.65", "+ answers img.cdn.test: + 192.0.2.65"],
    isAdditive: true,
  },
  {
    what: "the zone of a name removed",
    after: { zones: [{ ...zone, name: "other.test" }], steering: [] },
    lines: [
      "+ zone other.test: 2 record sets",
      "- zone cdn.test: 2 record sets",
      "- name img.cdn.test: policy geo",
      "- answers img.cdn.test: it is in no zone any more (was 192.0.2.1)",
    ],
  },
  {
    what: "sites swapped",
    after: { sites: [nyc], steering: [{ ...img, overrides: [] }] },
    lines: [
      "+ site nyc: New York",
      "- site fra",
      "+ node nyc1: site nyc, 192.0.2.65",
      "- node fra1: site fra, 192.0.2.1",
      `~ name img.cdn.test: overrides - {"country":"AU","site":"fra"}`,
      "~ answers img.cdn.test: + 192.0.2.65 - 192.0.2.1",
    ],
  },
  {
    what: "a site's settings",
    after: { sites: [{ ...fra, state: "draining", capacity: { requestsPerSecond: 100 } }] },
    lines: [`~ site fra: state auto → draining; capacity none → {"requestsPerSecond":100}`],
  },
  {
    what: "a node's address",
    after: { sites: [{ ...fra, nodes: [node("fra1", "192.0.2.1", { addresses: ["192.0.2.9"] })] }] },
    lines: ["~ node fra1: addresses + 192.0.2.9 - 192.0.2.1", "~ answers img.cdn.test: + 192.0.2.9 - 192.0.2.1"],
  },
  {
    what: "a name that loses its address",
    after: { sites: [{ ...fra, nodes: [node("fra1", "192.0.2.1", { addresses: [] })] }] },
    lines: ["~ node fra1: addresses - 192.0.2.1", "- answers img.cdn.test: no address is left (was 192.0.2.1)"],
  },
  {
    what: "records: one replaced, one more, one gone",
    after: withRecords({ ...www, address: "203.0.113.2" }, { name: "new", type: "AAAA", address: "2001:db8::1" }),
    lines: [
      "~ records www.cdn.test A: 203.0.113.1 → 203.0.113.2",
      "+ records new.cdn.test AAAA: 2001:db8::1",
      "- records cdn.test TXT: hello",
    ],
  },
  {
    what: "one more address of a name",
    after: withRecords(www, { ...www, address: "203.0.113.2" }, txt),
    lines: ["~ records www.cdn.test A: + 203.0.113.2"],
  },
  {
    what: "a TTL",
    after: withRecords({ ...www, ttlSeconds: 30 }, txt),
    lines: ["~ records www.cdn.test A: 203.0.113.1 → 203.0.113.1 (TTL 30 s)"],
  },
  {
    what: "records in another order, names spelled otherwise",
    after: withRecords(txt, { ...www, name: "WWW.cdn.test." }),
    lines: [],
    isAdditive: true,
  },
  {
    what: "a zone's settings and nameservers",
    after: { zones: [{ ...zone, ttlSeconds: 60, nameservers: [{ name: "ns2", addresses: ["192.0.2.2"] }] }] },
    lines: [
      "~ zone cdn.test: ttlSeconds 300 → 60",
      "+ nameserver ns2.cdn.test: 192.0.2.2",
      "- nameserver ns1.cdn.test: 192.0.2.1",
    ],
  },
  {
    what: "a further zone",
    after: { zones: [zone, { ...zone, name: "second.test" }] },
    lines: ["+ zone second.test: 2 record sets"],
    isAdditive: true,
  },
  {
    what: "hosts: other settings, another origin, one that is gone",
    after: { hosts: [{ name: "img.cdn.test", kind: "images", sourcePrefix: "shop/" }] },
    lines: ['~ host img.cdn.test: sourcePrefix "" → shop/'],
  },
  {
    what: "which host answers requests to a bare address",
    after: { hosts: [{ name: "pics.cdn.test", kind: "images" }, ...standing.hosts] },
    lines: ["+ host pics.cdn.test: images", "~ requests to a bare address: host img.cdn.test → pics.cdn.test"],
  },
  {
    what: "an override",
    after: { steering: [{ ...img, overrides: [{ country: "NZ", site: "fra" }] }] },
    lines: [`~ name img.cdn.test: overrides + {"country":"NZ","site":"fra"} - {"country":"AU","site":"fra"}`],
  },
  { what: "a preset", after: { presets: { card: { w: 320 } } }, lines: ["~ preset card: w 480 → 320"] },
  {
    what: "shield, limits and probe",
    after: { shield: "fra", limits: { renderQueueMax: 5 }, probe: { intervalMs: 500 } },
    lines: ["~ shield: site none → fra", "~ limits: renderQueueMax 1000 → 5", "~ probe: intervalMs 1000 → 500"],
  },
  {
    what: "a cloud",
    after: {
      anycast: {
        addresses: ["198.51.100.80"],
        clouds: [{ name: "a", prefixes: ["198.51.100.0/24"], addresses: ["198.51.100.80"], sites: ["fra"] }],
      },
    },
    lines: ["~ anycast: addresses + 198.51.100.80", "+ cloud a: 198.51.100.0/24 from fra"],
  },
];

for (const { what, after, lines, isAdditive: wanted = false } of rows) {
  test(`${what}: ${lines.length === 0 ? "no line" : lines.join(" | ")}`, () => {
    const changes = diffOf(fleetWith(standing), fleetWith({ ...standing, ...after }));
    assert.deepEqual(changes.map(changeText), lines);
    assert.equal(isAdditive(changes), wanted);
  });
}

test("a first document only adds", () => {
  const changes = diffOf(undefined, fleetWith(standing));
  assert.deepEqual(changes.map(changeText), [
    "+ zone cdn.test: 2 record sets",
    "+ site fra",
    "+ node fra1: site fra, 192.0.2.1",
    "+ host img.cdn.test: images",
    "+ name img.cdn.test: policy geo",
    `+ preset card: {"w":480}`,
  ]);
  assert.ok(isAdditive(changes));
});

test("long values and long lists are cut, and say how much is left out", () => {
  const many = Array.from({ length: 20 }, (_, index) => ({ ...www, address: `203.0.113.${index + 1}` }));
  const [line = ""] = diffOf(fleetWith(standing), fleetWith({ ...standing, ...withRecords(...many, txt) })).map(
    changeText,
  );
  assert.match(line, /^~ records www\.cdn\.test A: (?:\+ 203\.0\.113\.\d+ ){6}and 13 more$/);
  const long = diffOf(
    fleetWith(standing),
    fleetWith({ ...standing, ...withRecords(www, { ...txt, text: ["x".repeat(250)] }) }),
  );
  const [cut] = long;
  assert.ok(cut !== undefined && cut.detail.length < 100);
});

test("as many nodes as may join, behind many names, are compared within a moment", () => {
  const nodesMax = 10_000;
  /** Some 400 ms; 5 s where each address is looked for in a list. */
  const cpuMsMax = 1500;
  const names = Array.from({ length: 30 }, (_, index) => ({ name: `img${index}.cdn.test`, policy: "geo" }));
  const fleet = fleetWith({ ...standing, steering: names });
  const joined = (count: number): typeof fleet => {
    const nodes = Array.from({ length: count }, (_, index) =>
      node(`fra${index}`, `10.0.${index >> 8}.${index & 255}`),
    ) as unknown as (typeof fleet.sites)[number]["nodes"];
    return { ...fleet, sites: fleet.sites.map((site) => ({ ...site, nodes })) };
  };
  const [before, after] = [joined(nodesMax), joined(nodesMax - 1)];
  let changes: ReturnType<typeof diffOf> = [];
  const tookMs = leastOwnCpuMs(cpuMsMax, () => {
    changes = diffOf(before, after);
  });
  assert.equal(changes.filter(({ what }) => what === "answers").length, names.length);
  assert.ok(tookMs < cpuMsMax, `${tookMs} ms of CPU`);
});

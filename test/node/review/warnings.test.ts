/** What is unwise in a valid document: each row is a document and all places that are warned of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { whySpecial } from "#review/special-addresses.ts";
import { warningsOf } from "#review/warnings.ts";
import type { RosterNode } from "#document/roster.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

type Parts = Readonly<Record<string, unknown>>;

const node = (address: string): Parts => ({ name: "fra1", http: `http://${address}`, addresses: [address] });
const site = (...addresses: string[]): Parts => ({
  name: "fra",
  place: { latitude: 50, longitude: 8 },
  nodes: addresses.map(node),
});
const zone = (name: string, address: string, parts: Parts = {}): Parts => ({
  name,
  nameservers: [{ name: "ns1", addresses: [address] }],
  ...parts,
});
const steered = (name: string): Parts => ({ steering: [{ name, policy: "geo" }], hosts: [{ name, kind: "images" }] });
/** Addresses of nobody's special network. */
const [public1, public2] = ["5.9.0.1", "5.9.0.2"];

const rows: { what: string; parts: Parts; roster?: RosterNode[]; paths: string[] }[] = [
  {
    what: "a public zone whose nameserver is a node",
    parts: { zones: [zone("cdn.shop.de", public1)], sites: [site(public1)], ...steered("img.cdn.shop.de") },
    paths: [],
  },
  {
    what: "a nameserver that is no node",
    parts: { zones: [zone("cdn.shop.de", public2)], sites: [site(public1)], ...steered("img.cdn.shop.de") },
    paths: ["zones[0].nameservers[0].addresses[0]"],
  },
  {
    what: "a nameserver that is a node which joined",
    parts: { zones: [zone("cdn.shop.de", public2)], sites: [site(public1)], ...steered("img.cdn.shop.de") },
    roster: [{ name: "fra2", site: "fra", http: `http://${public2}`, addresses: [public2] }],
    paths: [],
  },
  {
    what: "a site without an address",
    parts: {
      zones: [zone("cdn.test", public1)],
      sites: [site(public1), { ...site(), name: "nyc" }],
      ...steered("img.cdn.test"),
    },
    paths: ["sites[1]"],
  },
  {
    what: "a site whose only node joined without an address",
    parts: {
      zones: [zone("cdn.test", public1)],
      sites: [site(public1), { ...site(), name: "nyc" }],
      ...steered("img.cdn.test"),
    },
    roster: [{ name: "nyc1", site: "nyc", http: `http://${public2}`, addresses: [] }],
    paths: ["sites[1]"],
  },
  {
    what: "a site that a node with an address joined",
    parts: {
      zones: [zone("cdn.test", public1)],
      sites: [site(public1), { ...site(), name: "nyc" }],
      ...steered("img.cdn.test"),
    },
    roster: [{ name: "nyc1", site: "nyc", http: `http://${public2}`, addresses: [public2] }],
    paths: [],
  },
  {
    what: "private addresses of a node in a public zone",
    parts: { zones: [zone("cdn.shop.de", public1)], sites: [site(public1, "10.1.2.3")], ...steered("img.cdn.shop.de") },
    paths: ["sites[0].nodes[1].addresses[0]"],
  },
  {
    what: "loopback in a zone for tests",
    parts: { zones: [zone("cdn.test", "127.0.0.1")], sites: [site("127.0.0.1")], ...steered("img.cdn.test") },
    paths: [],
  },
  {
    what: "a private record in a public zone",
    parts: {
      zones: [zone("cdn.shop.de", public1, { records: [{ name: "db", type: "A", address: "192.168.7.7" }] })],
      sites: [site(public1)],
      ...steered("img.cdn.shop.de"),
    },
    paths: ["zones[0].records[0].address"],
  },
  {
    what: "hosts outside of the zones, and without an address",
    parts: {
      zones: [zone("cdn.shop.de", public1)],
      sites: [site(public1)],
      hosts: [
        { name: "img.other.de", kind: "images" },
        { name: "pics.cdn.shop.de", kind: "images" },
      ],
    },
    paths: ["hosts[0].name", "hosts[1].name"],
  },
];

const twoSites = (fra: Parts, nyc: Parts = {}): Parts => ({
  sites: [siteValue("fra", fra), siteValue("nyc", nyc)],
  zones: [zone("cdn.test", "192.0.2.1")],
});
const geo = { steering: [{ name: "img.cdn.test", policy: "geo" }] };
const down = { state: "down" };
const drainingNode = { nodes: [{ name: "x1", http: "http://192.0.2.1:8080", state: "draining" }] };

const stateRows: { what: string; parts: Parts; drained?: string[]; said: RegExp | undefined }[] = [
  { what: "one of two sites is down", parts: { ...twoSites(down), ...geo }, said: undefined },
  {
    what: "all sites are down",
    parts: { ...twoSites(down, down), ...geo },
    said: /^every site for img\.cdn\.test \(fra, nyc\) has `state: down`, which has no effect: when no site is up, DNS/,
  },
  {
    what: "fixed to a site that is down",
    parts: { ...twoSites(down), steering: [{ name: "img.cdn.test", policy: "fixed", sites: ["fra"] }] },
    said: /^every site for img\.cdn\.test \(fra\) has `state: down`/,
  },
  {
    what: "fixed to two sites, one of them down",
    parts: { ...twoSites(down), steering: [{ name: "img.cdn.test", policy: "fixed", sites: ["fra", "nyc"] }] },
    said: undefined,
  },
  {
    what: "the other site has no address",
    parts: { ...twoSites(down, { addresses: [] }), ...geo },
    said: /^every site for img\.cdn\.test \(fra\) has `state: down`/,
  },
  {
    what: "anycast: no site is chosen",
    parts: {
      ...twoSites(down, down),
      anycast: { addresses: ["192.0.2.9"] },
      steering: [{ name: "img.cdn.test", policy: "anycast" }],
    },
    said: undefined,
  },
  {
    what: "all sites drain",
    parts: { ...twoSites({ state: "draining" }, { state: "draining" }), ...geo },
    said: /^every site for img\.cdn\.test \(fra, nyc\) is draining, so draining has no effect: .* clients to fra, nyc$/,
  },
  {
    what: "one is down, and the other's only node drains",
    parts: { ...twoSites(down, drainingNode), ...geo },
    said: /is down or draining, so draining has no effect: .* DNS sends new clients to nyc$/,
  },
  {
    what: "the nodes of all sites were drained by name",
    parts: { ...twoSites({}), ...geo },
    drained: ["fra1", "nyc1"],
    said: /is draining, so draining has no effect/,
  },
  { what: "one of two nodes was drained", parts: { ...twoSites({}), ...geo }, drained: ["fra1"], said: undefined },
  { what: "up is forced", parts: { ...twoSites(down, { ...drainingNode, state: "up" }), ...geo }, said: undefined },
];

for (const { what, parts, drained = [], said } of stateRows) {
  test(`${what}: ${said === undefined ? "no warning" : "a warning that it has no effect"}`, () => {
    const all = warningsOf(fleetWith(parts), { revision: 1, nodes: [], draining: drained });
    const [first, ...others] = all.filter(({ path }) => !path.startsWith("sites["));
    if (said === undefined) assert.equal(first, undefined);
    else {
      assert.match(first?.message ?? "", said);
      assert.equal(first?.path, "steering[0].name");
    }
    assert.deepEqual(others, []);
  });
}

test("steered names with the same sites share one warning", () => {
  const names = ["a", "b", "c", "d", "e"].map((label) => `${label}.cdn.test`);
  const steering = names.map((name) => ({ name, policy: "geo" }));
  const warnings = warningsOf(
    fleetWith({ ...twoSites(down, down), steering, hosts: [{ name: "a.cdn.test", kind: "images" }] }),
  );
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0]?.message ?? "",
    /^every site for a\.cdn\.test, b\.cdn\.test, c\.cdn\.test and 2 more \(fra, /,
  );
});

test("a TTL of 0 is warned of, wherever it stands", () => {
  const records = [
    { name: "a", type: "A", address: "192.0.2.1", ttlSeconds: 0 },
    { name: "a", type: "TXT", text: ["x"], ttlSeconds: 0 },
    { name: "b", type: "A", address: "192.0.2.1", ttlSeconds: 1 },
  ];
  const written = zone("cdn.test", "192.0.2.1", { ttlSeconds: 0, negativeTtlSeconds: 0, records });
  const text = "$TTL 0\n@ SOA ns hostmaster 1 7200 3600 1209600 0\n@ NS ns\nns A 192.0.2.1\n";
  const warnings = warningsOf(
    fleetWith({
      ...twoSites({}),
      zones: [written, { name: "file.test", text }],
      steering: [{ name: "img.cdn.test", policy: "geo", ttlSeconds: 0 }],
    }),
  );
  assert.deepEqual(
    warnings.map(({ path, message }) => `${path}: ${message.replace(/ is 0: resolvers cache no answer, .*/, "")}`),
    [
      "zones[0].ttlSeconds: ttlSeconds of the zone cdn.test",
      "zones[0].negativeTtlSeconds: negativeTtlSeconds of the zone cdn.test",
      "zones[0].records: the TTL of a.cdn.test",
      "zones[1]: the SOA's TTL in the zone file.test",
      "zones[1]: the SOA's minimum in the zone file.test",
      "zones[1]: the TTL of file.test, ns.file.test",
      "steering[0].ttlSeconds: ttlSeconds of img.cdn.test",
    ],
  );
  const low = zone("cdn.test", "192.0.2.1", { ttlSeconds: 1, negativeTtlSeconds: 1 });
  assert.deepEqual(warningsOf(fleetWith({ ...twoSites({}), zones: [low], ...geo })), []);
});

for (const { what, parts, roster = [], paths } of rows) {
  test(`${what}: ${paths.length === 0 ? "no warning" : paths.join(", ")}`, () => {
    const nodes = ((parts["sites"] as { nodes: Parts[] }[])[0]?.nodes ?? []).map((one, n) => ({
      ...one,
      name: `fra${n + 5}`,
    }));
    const [first, ...others] = parts["sites"] as Parts[];
    const sites = [{ ...first, nodes }, ...others];
    const warnings = warningsOf(fleetWith({ ...parts, sites }), { revision: 1, nodes: roster, draining: [] });
    assert.deepEqual(
      warnings.map(({ path }) => path),
      paths,
    );
    for (const { value, message, advice } of warnings) assert.ok(message.includes(value) && advice !== "", message);
  });
}

test("zones that share a nameserver's address have one warning, with the first of its names", () => {
  const names = ["a.test", "b.test", "c.test", "d.test", "e.test"];
  const zones = names.map((name) => zone(name, "192.0.2.53"));
  const fleet = fleetWith({ zones, hosts: [{ name: "img.a.test", kind: "images" }], steering: [] });
  const [first, ...others] = warningsOf(fleet).filter(({ value }) => value === "192.0.2.53");
  assert.equal(
    first?.message,
    "192.0.2.53, the address of the nameservers ns1.a.test, ns1.b.test, ns1.c.test and 2 more, " +
      "belongs to no node of this fleet",
  );
  assert.deepEqual(others, []);
});

test("addresses that are reachable from the whole internet are distinguished from those of RFC 6890", () => {
  for (const address of ["8.8.8.8", "100.128.0.1", "172.32.0.1", "2606:4700::1111"]) {
    assert.equal(whySpecial(address), undefined, address);
  }
  for (const address of ["10.0.0.1", "100.64.0.1", "172.31.255.255", "127.9.9.9", "::1", "fd00::1", "fe80::1"]) {
    assert.notEqual(whySpecial(address), undefined, address);
  }
  assert.equal(whySpecial("64:ff9b::a00:1"), "another form of 10.0.0.1, which is private (RFC 1918)");
  assert.match(whySpecial("2002:a9fe:a9fe::1") ?? "", /169\.254\.169\.254, which is link-local/);
  assert.equal(whySpecial("64:ff9b::509:1"), undefined);
});

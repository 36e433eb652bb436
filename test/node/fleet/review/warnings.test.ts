/** What is unwise in a valid document: each row is a document and all places that are warned of. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { whySpecial } from "#fleet/review/special-addresses.ts";
import { warningsOf } from "#fleet/review/warnings.ts";
import type { RosterNode } from "#fleet/roster.ts";
import { fleetWith } from "../../../support/fleet.ts";

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

for (const { what, parts, roster = [], paths } of rows) {
  test(`${what}: ${paths.length === 0 ? "no warning" : paths.join(", ")}`, () => {
    const nodes = ((parts["sites"] as { nodes: Parts[] }[])[0]?.nodes ?? []).map((one, n) => ({
      ...one,
      name: `fra${n + 5}`,
    }));
    const sites = [{ ...(parts["sites"] as Parts[])[0], nodes }];
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

test("addresses that the whole internet reaches are told from those of RFC 6890", () => {
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

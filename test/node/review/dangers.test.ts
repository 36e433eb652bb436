/** What a document would take from clients: each row is a change of one fleet, and all that must be said of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { dangersOf } from "#review/dangers.ts";
import { type Roster, withRoster } from "#document/roster.ts";
import { fleetWith } from "../../support/fleet.ts";

type Parts = Readonly<Record<string, unknown>>;

const site = (name: string, addresses: readonly string[], parts: Parts = {}): Parts => ({
  name,
  place: { latitude: 50, longitude: 8 },
  nodes: addresses.map((address, index) => ({
    name: `${name}${index + 1}`,
    http: `http://${address}`,
    addresses: [address],
  })),
  ...parts,
});
const fra = site("fra", ["192.0.2.1", "192.0.2.2"]);
const nyc = site("nyc", ["192.0.2.65"]);
const zone = (parts: Parts = {}): Parts => ({
  name: "cdn.test",
  nameservers: [
    { name: "ns1", addresses: ["192.0.2.1"] },
    { name: "ns2", addresses: ["192.0.2.65"] },
  ],
  records: [
    { name: "www", type: "CNAME", target: "img" },
    { name: "mail", type: "A", address: "203.0.113.25" },
  ],
  ...parts,
});
const second = { name: "second.test", nameservers: [{ name: "ns.cdn.test." }] };
const img = { name: "img.cdn.test", policy: "geo" };
const standing = { zones: [zone(), second], sites: [fra, nyc], steering: [img] };

const rows: {
  what: string;
  before?: Parts;
  after: Parts;
  roster?: Roster["nodes"];
  /** Default: all are. */
  live?: readonly string[];
  dangers: readonly string[];
}[] = [
  { what: "nothing changed", after: {}, dangers: [] },
  { what: "a further site", after: { sites: [fra, nyc, site("tyo", ["192.0.2.129"])] }, dangers: [] },
  { what: "one node of two", after: { sites: [site("fra", ["192.0.2.1"]), nyc] }, dangers: [] },
  { what: "a served zone removed", after: { zones: [zone()] }, dangers: ["zone second.test"] },
  {
    what: "a zone renamed: the names in it are lost with it and not told one by one",
    after: {
      zones: [zone({ name: "cdn2.test" }), second],
      steering: [],
      hosts: [{ name: "img.cdn2.test", kind: "images" }],
    },
    dangers: ["zone cdn.test"],
  },
  { what: "a zone spelled otherwise", after: { zones: [zone({ name: "CDN.test." }), second] }, dangers: [] },
  {
    what: "a site removed whose node is a nameserver",
    after: { sites: [fra] },
    dangers: ["site nyc", "name ns2.cdn.test"],
  },
  {
    what: "the only host removed, another in its place",
    after: { hosts: [{ name: "static.cdn.test", kind: "images" }] },
    dangers: ["host img.cdn.test"],
  },
  {
    what: "a host of another kind",
    after: { hosts: [{ name: "img.cdn.test", kind: "assets", origin: "http://192.0.2.200" }] },
    dangers: ["host img.cdn.test"],
  },
  { what: "a host spelled otherwise", after: { hosts: [{ name: "IMG.cdn.test", kind: "images" }] }, dangers: [] },
  { what: "a site emptied", after: { sites: [fra, site("nyc", [])] }, dangers: ["site nyc", "name ns2.cdn.test"] },
  {
    what: "a site that keeps a node which is not live",
    after: { sites: [site("fra", ["192.0.2.1"]), nyc] },
    live: ["fra2", "nyc1"],
    dangers: ["site fra"],
  },
  { what: "a site whose nodes are all dead", after: { sites: [fra] }, live: ["fra1"], dangers: [] },
  {
    what: "a site of the document whose node joined",
    before: { ...standing, sites: [fra, site("nyc", [])] },
    after: { sites: [fra] },
    roster: [{ name: "nyc7", site: "nyc", http: "http://192.0.2.65", addresses: ["192.0.2.65"] }],
    dangers: ["site nyc", "name ns2.cdn.test"],
  },
  {
    what: "nodes of the document gone while one that joined stays",
    after: { sites: [fra, site("nyc", [])] },
    roster: [{ name: "nyc7", site: "nyc", http: "http://192.0.2.66", addresses: ["192.0.2.65"] }],
    dangers: [],
  },
  {
    what: "a steered name removed, and the alias to it",
    after: { steering: [] },
    dangers: ["name img.cdn.test", "name www.cdn.test"],
  },
  {
    what: "a steered name left to a site without live nodes",
    after: { steering: [{ ...img, sites: ["nyc"] }] },
    live: ["fra1", "fra2"],
    dangers: ["name img.cdn.test", "name www.cdn.test"],
  },
  {
    what: "the only live site held down",
    after: { sites: [site("fra", ["192.0.2.1", "192.0.2.2"], { state: "down" }), nyc] },
    live: ["fra1", "fra2"],
    dangers: ["name img.cdn.test", "name www.cdn.test"],
  },
  { what: "one of two live sites held down", after: { sites: [{ ...fra, state: "down" }, nyc] }, dangers: [] },
  {
    what: "weight 0 for the only live site",
    after: { steering: [{ ...img, policy: "weighted", weights: { fra: 0 } }] },
    live: ["fra1"],
    dangers: ["name img.cdn.test", "name www.cdn.test"],
  },
  {
    what: "a record of its own instead of steering",
    after: { zones: [zone({ records: [{ name: "img", type: "A", address: "203.0.113.9" }] }), second], steering: [] },
    dangers: ["name www.cdn.test", "name mail.cdn.test"],
  },
  {
    what: "an address elsewhere replaced by another",
    after: {
      zones: [
        zone({
          records: [
            { name: "www", type: "CNAME", target: "img" },
            { name: "mail", type: "A", address: "203.0.113.26" },
          ],
        }),
        second,
      ],
    },
    dangers: [],
  },
  {
    what: "a record that still names the address of a node that left",
    before: { ...standing, zones: [zone({ records: [{ name: "one", type: "A", address: "192.0.2.2" }] }), second] },
    after: {
      zones: [zone({ records: [{ name: "one", type: "A", address: "192.0.2.2" }] }), second],
      sites: [site("fra", ["192.0.2.1"]), nyc],
    },
    dangers: ["name one.cdn.test"],
  },
  {
    what: "a name that a wildcard takes over",
    after: { zones: [zone({ records: [{ name: "*", type: "A", address: "203.0.113.1" }] }), second], steering: [] },
    dangers: [],
  },
  {
    what: "a part given to other nameservers",
    after: {
      zones: [
        zone({
          records: [
            { name: "www", type: "CNAME", target: "img" },
            { name: "mail", type: "NS", target: "ns.example." },
          ],
        }),
        second,
      ],
    },
    dangers: [],
  },
  {
    what: "a fleet without nodes is free",
    before: { ...standing, sites: [site("fra", [])] },
    after: {
      zones: [second],
      sites: [site("nyc", [])],
      steering: [],
      hosts: [{ name: "a.second.test", kind: "images" }],
    },
    dangers: [],
  },
  {
    what: "a fleet of dead nodes is free",
    after: { zones: [zone()], sites: [fra], steering: [] },
    live: [],
    dangers: [],
  },
  {
    what: "the anycast addresses of a cloud that no live site announces any more",
    before: {
      ...standing,
      anycast: {
        addresses: ["198.51.100.80"],
        clouds: [{ name: "a", prefixes: ["198.51.100.0/24"], addresses: ["198.51.100.80"], sites: ["fra", "nyc"] }],
      },
      steering: [{ ...img, policy: "anycast" }],
    },
    after: {
      anycast: {
        addresses: ["198.51.100.80"],
        clouds: [{ name: "a", prefixes: ["198.51.100.0/24"], addresses: ["198.51.100.80"], sites: ["nyc"] }],
      },
    },
    live: ["fra1", "fra2"],
    dangers: ["name img.cdn.test", "name www.cdn.test"],
  },
];

for (const { what, before = standing, after, roster = [], live, dangers } of rows) {
  test(`${what}: ${dangers.length === 0 ? "no danger" : dangers.join(", ")}`, () => {
    const joined: Roster = { revision: 1, nodes: [...roster], draining: [] };
    const [old, now] = [before, { ...before, ...after }].map((parts) => withRoster(fleetWith(parts), joined));
    assert.ok(old !== undefined && now !== undefined);
    const found = dangersOf(old, now, (node) => live?.includes(node) ?? true);
    assert.deepEqual(
      found.map(({ kind, name }) => `${kind} ${name}`),
      dangers,
    );
    for (const { name, message } of found) assert.ok(message.includes(name), message);
  });
}

test("messages name what serves now, a few of many", () => {
  const many = site(
    "fra",
    Array.from({ length: 7 }, (_, index) => `192.0.2.${index + 1}`),
  );
  const [old, now] = [fleetWith({ ...standing, sites: [many, nyc] }), fleetWith({ ...standing, sites: [nyc] })];
  assert.deepEqual(
    dangersOf(old, now, () => true).map(({ message }) => message),
    [
      "site fra would be removed: fra1, fra2, fra3, fra4 and 3 more serve there now",
      "ns1.cdn.test would lose its last live address, 192.0.2.1",
    ],
  );
});

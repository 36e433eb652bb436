/** Draining a node when nothing else is up: the names that DNS goes on answering with it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { namesDrainedInVain } from "#review/drained-in-vain.ts";
import { withRoster } from "#document/roster.ts";
import { fleetWith } from "../../support/fleet.ts";

type Parts = Readonly<Record<string, unknown>>;

const node = (name: string, address: string): Parts => ({ name, http: `http://${address}`, addresses: [address] });
const site = (name: string, nodes: readonly Parts[], parts: Parts = {}): Parts => ({
  name,
  place: { latitude: 50, longitude: 8 },
  nodes,
  ...parts,
});
const [fra1, fra2, nyc1] = [node("fra1", "192.0.2.1"), node("fra2", "192.0.2.2"), node("nyc1", "192.0.2.3")];
const two = [site("fra", [fra1]), site("nyc", [nyc1])];
const geo = { name: "img.cdn.test", policy: "geo" };

/** `fra1` is drained; who else is, and who is away. */
const rows: {
  what: string;
  sites?: Parts[];
  steering?: Parts[];
  drained?: string[];
  away?: string[];
  names: string[];
}[] = [
  { what: "another site is up", names: [] },
  { what: "the other site's node is away", away: ["nyc1"], names: ["img.cdn.test"] },
  { what: "the other site's node drains, too", drained: ["nyc1"], names: ["img.cdn.test"] },
  { what: "the other site has no node", sites: [site("fra", [fra1]), site("nyc", [])], names: ["img.cdn.test"] },
  { what: "another node of the site is up", sites: [site("fra", [fra1, fra2])], names: [] },
  {
    what: "another node of the site is away",
    sites: [site("fra", [fra1, fra2])],
    away: ["fra2"],
    names: ["img.cdn.test"],
  },
  {
    what: "the other site is held down",
    sites: [site("fra", [fra1]), site("nyc", [nyc1], { state: "down" })],
    names: ["img.cdn.test"],
  },
  { what: "it is away itself, and another site drains", drained: ["nyc1"], away: ["fra1"], names: [] },
  { what: "no node is connected: nobody knows who is up", away: ["fra1", "nyc1"], names: [] },
  {
    what: "only the name that is fixed to the site",
    steering: [geo, { name: "fra.cdn.test", policy: "fixed", sites: ["fra"] }],
    names: ["fra.cdn.test"],
  },
  {
    what: "a name that is fixed to another site",
    steering: [{ ...geo, policy: "fixed", sites: ["nyc"] }],
    away: ["nyc1"],
    names: [],
  },
  { what: "a node without an address", sites: [site("fra", [{ ...fra1, addresses: [] }])], names: [] },
];

for (const { what, sites = two, steering = [geo], drained = [], away = [], names } of rows) {
  test(`${what}: ${names.length === 0 ? "DNS names it no more" : `DNS goes on naming it for ${names.join()}`}`, () => {
    const fleet = fleetWith({ sites, steering });
    const drains = withRoster(fleet, { revision: 1, nodes: [], draining: ["fra1", ...drained] });
    assert.deepEqual(
      namesDrainedInVain(drains, "fra1", (name) => !away.includes(name)),
      names,
    );
  });
}

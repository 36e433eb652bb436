/** A fleet document with BGP: two clouds of different sites, as its author would write it. */
import assert from "node:assert/strict";
import type { Fleet } from "#document/document.ts";
import { checkFleet } from "#document/read-document.ts";
import {
  type AnnouncementPlan,
  announcementPlan,
  type WantedPlan,
} from "../../../deploy/cli/verbs/bgp/announcement-plan.ts";

export const routers = [
  { address: "192.0.2.1", as: 64501 },
  { address: "2001:db8:1::1", as: 64501 },
];

export interface FleetChanges {
  as?: number | undefined;
  routers?: readonly object[];
  clouds?: readonly object[];
  fraNodes?: readonly object[];
}

export const clouds = [
  {
    name: "a",
    prefixes: ["198.51.100.0/24", "2001:db8:a::/48"],
    addresses: ["198.51.100.53", "198.51.100.80", "2001:db8:a::53"],
    sites: ["fra", "nyc"],
  },
  { name: "b", prefixes: ["203.0.113.0/24"], addresses: ["203.0.113.53"], sites: ["ams"] },
];

export const fraNodes = [
  { name: "fra1", http: "http://192.0.2.10", addresses: ["192.0.2.10", "2001:db8:1::10"] },
  { name: "fra-2", http: "http://192.0.2.11", peer: { host: "192.0.2.11" } },
];

export function anycastFleet(changes: FleetChanges = {}): Fleet {
  const bgp = (of: readonly object[]): object => ({ bgp: { routers: of } });
  const place = { latitude: 50, longitude: 8 };
  const as = "as" in changes ? changes.as : 64500;
  const checked = checkFleet({
    zones: [
      {
        name: "cdn.example.com",
        nameservers: [
          { name: "ns1", addresses: ["198.51.100.53", "2001:db8:a::53"] },
          { name: "ns2", addresses: ["203.0.113.53"] },
        ],
      },
    ],
    sites: [
      {
        name: "fra",
        place,
        nodes: changes.fraNodes ?? fraNodes,
        ...(as === undefined ? {} : bgp(changes.routers ?? routers)),
      },
      { name: "ams", place, ...(as === undefined ? {} : bgp([{ address: "192.0.2.65", as: 64501 }])) },
      { name: "nyc", place },
      { name: "tyo", place, ...(as === undefined ? {} : bgp([{ address: "192.0.2.193", as: 64503 }])) },
    ],
    anycast: {
      addresses: ["198.51.100.80"],
      ...(as === undefined ? {} : { as }),
      clouds: changes.clouds ?? clouds,
    },
    hosts: [{ name: "img.cdn.example.com", kind: "images" }],
  });
  assert.ok(checked.ok, checked.ok ? "" : JSON.stringify(checked.problems));
  return checked.value;
}

export function planOf(fleet: Fleet, wanted: Partial<WantedPlan> = {}): AnnouncementPlan {
  const planned = announcementPlan(fleet, { site: "fra", ...wanted });
  assert.ok(planned.ok, planned.ok ? "" : planned.reason);
  return planned.plan;
}

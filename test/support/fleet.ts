/** A fleet document for tests: as small as one can be, with what a test adds. */
import type { Fleet } from "#document/document.ts";
import { checkFleet } from "#document/read-document.ts";
import { problemLines } from "#base/schema.ts";

export function fleetValue(parts: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }] }],
    sites: [siteValue("fra"), siteValue("nyc")],
    hosts: [{ name: "img.cdn.test", kind: "images" }],
    ...parts,
  };
}

export function siteValue(name: string, parts: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    name,
    place: { latitude: 50, longitude: 8 },
    addresses: ["192.0.2.1"],
    nodes: [{ name: `${name}1`, http: "http://192.0.2.1:8080" }],
    ...parts,
  };
}

/** @throws Error with all problems */
export function fleetWith(parts: Readonly<Record<string, unknown>> = {}): Fleet {
  const checked = checkFleet(fleetValue(parts));
  if (checked.ok) return checked.value;
  throw new Error(problemLines(checked.problems).join("\n"));
}

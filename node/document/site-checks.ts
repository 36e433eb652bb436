/**
 * Rules for sites and anycast clouds that the schema can't express: names that must exist, addresses that must lie in
 * an announced prefix, settings that need each other. Called by read-document.ts.
 */
import { BlockList, isIP } from "node:net";
import { groupsOfIpv6 } from "#base/embedded-ipv4.ts";
import type { ValueProblem } from "#base/schema.ts";
import type { Fleet } from "./document.ts";
import type { Cloud } from "./schema/anycast.ts";

/** Most routers of the internet drop longer prefixes. */
const longestAnnounced = { 4: 24, 6: 48 } as const;

export function* contradictionsOfSites(fleet: Fleet, warn: (warning: ValueProblem) => void): Generator<ValueProblem> {
  const { anycast, shield, sites } = fleet;
  const siteNames = new Set(sites.map(({ name }) => name));
  if (shield !== undefined && !siteNames.has(shield)) {
    yield { path: "shield", message: `"${shield}" is not one of the sites` };
  }
  for (const [index, site] of sites.entries()) {
    const path = `sites[${index}]`;
    if (site.bgp !== undefined && anycast.as === undefined) {
      yield { path: "anycast.as", message: `is missing; the nodes of site ${site.name} need an AS number for BGP` };
    }
    const seen = new Set<string>();
    for (const [n, node] of site.nodes.entries()) {
      const url = new URL(node.http).href;
      if (seen.has(url)) yield { path: `${path}.nodes[${n}].http`, message: `${node.http} is another node's, too` };
      seen.add(url);
    }
  }
  const cloudNames = new Set<string>();
  for (const [index, cloud] of anycast.clouds.entries()) {
    const path = `anycast.clouds[${index}]`;
    if (cloudNames.has(cloud.name)) yield { path: `${path}.name`, message: `"${cloud.name}" appears twice` };
    cloudNames.add(cloud.name);
    yield* contradictionsOfCloud(cloud, siteNames, path, warn);
  }
}

function* contradictionsOfCloud(
  cloud: Cloud,
  siteNames: ReadonlySet<string>,
  path: string,
  warn: (warning: ValueProblem) => void,
): Generator<ValueProblem> {
  for (const [index, name] of cloud.sites.entries()) {
    if (!siteNames.has(name)) yield { path: `${path}.sites[${index}]`, message: `"${name}" is not one of the sites` };
  }
  const announced = new BlockList();
  for (const [index, prefix] of cloud.prefixes.entries()) {
    const [address = "", lengthText = ""] = prefix.split("/");
    const [family, length] = [isIP(address) as 4 | 6, Number(lengthText)];
    announced.addSubnet(address, length, family === 4 ? "ipv4" : "ipv6");
    const first = firstAddressOf(address, length, family);
    if (first !== undefined) {
      yield {
        path: `${path}.prefixes[${index}]`,
        message: `${prefix} has bits set after its length; write ${first}/${length}`,
      };
    }
    if (length > longestAnnounced[family]) {
      const most = longestAnnounced[family];
      warn({
        path: `${path}.prefixes[${index}]`,
        message: `${prefix}: other networks accept nothing longer than /${most}`,
      });
    }
  }
  for (const [index, address] of cloud.addresses.entries()) {
    if (announced.check(address, isIP(address) === 4 ? "ipv4" : "ipv6")) continue;
    yield { path: `${path}.addresses[${index}]`, message: `${address} is in none of the prefixes of this cloud` };
  }
}

/** The prefix's first address, where `address` is another one. */
function firstAddressOf(address: string, length: number, family: 4 | 6): string | undefined {
  const groups = family === 4 ? address.split(".").map(Number) : groupsOfIpv6(address);
  const width = family === 4 ? 8 : 16;
  const masked = groups.map((group, index) => {
    const kept = Math.min(width, Math.max(0, length - index * width));
    return group & ~((1 << (width - kept)) - 1);
  });
  if (masked.every((group, index) => group === groups[index])) return undefined;
  if (family === 4) return masked.join(".");
  // The URL parser writes IPv6 addresses as RFC 5952 has them.
  return new URL(`http://[${masked.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1);
}

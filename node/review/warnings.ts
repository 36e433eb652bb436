/**
 * Warnings about a valid fleet document. Each has the path, the value, and what to do; pure.
 *
 *   nameservers whose address no node has             private addresses in public answers
 *   hosts that DNS does not lead to                   sites without an address (empty-sites.ts)
 *   states without effect (states-without-effect.ts)  TTLs of 0 (zero-ttls.ts)
 *
 * Zones under names such as `.test` are not public, so they may have any address.
 */
import { canonicalAddress } from "#base/ip-text.ts";
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Zone } from "#record/zone.ts";
import { emptyRoster, type Roster, withRoster } from "#document/roster.ts";
import { type Answers, answersOf, livesBehind } from "./dns-answers.ts";
import { emptySiteWarnings } from "./empty-sites.ts";
import { type FleetWarning, namesText } from "./fleet-warning.ts";
import { isPublicName, whySpecial } from "./special-addresses.ts";
import { stateWarnings } from "./states-without-effect.ts";
import { zeroTtlWarnings } from "./zero-ttls.ts";

/** The same bound as in read-document.ts. */
const warningsMax = 1000;

/** @param roster the nodes that joined, if known: they have addresses, too */
export function warningsOf(document: Fleet, roster: Roster = emptyRoster): FleetWarning[] {
  const fleet = withRoster(document, roster);
  const warnings = [
    ...nameserverWarnings(fleet),
    ...addressWarnings(document, roster),
    ...hostWarnings(document, answersOf(fleet)),
    ...emptySiteWarnings(fleet),
    ...stateWarnings(fleet),
    ...zeroTtlWarnings(fleet),
  ];
  return warnings.slice(0, warningsMax);
}

/** A nameserver, with one of its addresses and its path in the document. */
interface Glue {
  readonly server: string;
  readonly address: string;
  readonly path: string;
}

/** One warning per address, since zones that share nameservers would repeat it. */
function nameserverWarnings(fleet: Fleet): FleetWarning[] {
  const ours = livesBehind(fleet, () => true);
  const foreign = fleet.zones
    .flatMap((zone, index) => gluesOf(zone, `zones[${index}]`))
    .filter(({ address }) => !ours.has(canonicalAddress(address)));
  return [...Map.groupBy(foreign, ({ address }) => canonicalAddress(address)).values()].flatMap((glues) => {
    const [first] = glues;
    if (first === undefined) return [];
    const { address, path } = first;
    const servers = serversText([...new Set(glues.map(({ server }) => server))]);
    return [
      {
        path,
        value: address,
        message: `${address}, the address of the ${servers}, belongs to no node of this fleet`,
        advice:
          "use the address of a node, or join the machine that has it; " +
          "ignore this if other DNS software answers there",
      },
    ];
  });
}

function serversText(servers: readonly string[]): string {
  return `nameserver${servers.length === 1 ? "" : "s"} ${namesText(servers)}`;
}

/** Addresses of a zone's nameservers: those of `nameservers`, or in a zone file the A and AAAA records of its NS. */
function gluesOf(zone: Zone, at: string): Glue[] {
  const apex = canonicalName(zone.name);
  const written = zone.nameservers.flatMap(({ name, addresses }, n) =>
    addresses.map((address, a) => ({
      server: ownerOf(name, apex),
      address,
      path: `${at}.nameservers[${n}].addresses[${a}]`,
    })),
  );
  const servers = new Set([
    ...zone.nameservers.map(({ name }) => ownerOf(name, apex)),
    ...zone.records.flatMap((one) =>
      one.type === "NS" && ownerOf(one.name, apex) === apex ? ownerOf(one.target, apex) : [],
    ),
  ]);
  const recorded = zone.records.flatMap((one, r) =>
    (one.type === "A" || one.type === "AAAA") && servers.has(ownerOf(one.name, apex))
      ? [{ server: ownerOf(one.name, apex), address: one.address, path: pathOfRecord(zone, at, r) }]
      : [],
  );
  return [...written, ...recorded];
}

/** Records from a zone file have no path of their own in the document. */
function pathOfRecord(zone: Zone, at: string, index: number): string {
  return zone.soa === undefined ? `${at}.records[${index}].address` : at;
}

function addressWarnings(fleet: Fleet, roster: Roster): FleetWarning[] {
  const inZones = fleet.zones.flatMap((zone, z) => {
    const apex = canonicalName(zone.name);
    if (!isPublicName(apex)) return [];
    return [
      ...zone.nameservers.flatMap(({ name, addresses }, n) =>
        addresses.flatMap((address, a) =>
          specialWarning(address, `zones[${z}].nameservers[${n}].addresses[${a}]`, ownerOf(name, apex)),
        ),
      ),
      ...zone.records.flatMap((one, r) =>
        one.type === "A" || one.type === "AAAA"
          ? specialWarning(one.address, pathOfRecord(zone, `zones[${z}]`, r), ownerOf(one.name, apex))
          : [],
      ),
    ];
  });
  const steered = fleet.steering.map(({ name }) => canonicalName(name)).find(isPublicName);
  if (steered === undefined) return inZones;
  const inSites = fleet.sites.flatMap((site, s) => [
    ...site.addresses.flatMap((address, a) => specialWarning(address, `sites[${s}].addresses[${a}]`, steered)),
    ...site.nodes.flatMap((node, n) =>
      node.addresses.flatMap((address, a) =>
        specialWarning(address, `sites[${s}].nodes[${n}].addresses[${a}]`, steered),
      ),
    ),
  ]);
  const shared = fleet.anycast.addresses.flatMap((address, a) =>
    specialWarning(address, `anycast.addresses[${a}]`, steered),
  );
  const joined = roster.nodes.flatMap(({ name, addresses }) =>
    addresses.flatMap((address) => specialWarning(address, `node ${name}`, steered)),
  );
  return [...inZones, ...inSites, ...shared, ...joined];
}

/** @param name a name that is answered with the address */
function specialWarning(address: string, path: string, name: string): FleetWarning[] {
  const why = whySpecial(address);
  if (why === undefined) return [];
  return [
    {
      path,
      value: address,
      message: `${address} is ${why}, but ${name} is public and is answered with it`,
      advice: "use an address that is reachable from the internet, or move the name to a private zone",
    },
  ];
}

function hostWarnings(fleet: Fleet, answers: Answers): FleetWarning[] {
  return fleet.hosts.flatMap(({ name }, index): FleetWarning[] => {
    const host = canonicalName(name);
    const at = { path: `hosts[${index}].name`, value: name };
    if (answers.zoneOf(host) === undefined) {
      return [
        {
          ...at,
          message: `${name} lies in none of the zones`,
          advice: "add its zone, or let a CNAME in its own zone point to one of these names",
        },
      ];
    }
    const isNamed = fleet.steering.some((one) => canonicalName(one.name) === host);
    // A steered name without addresses waits for nodes to join: emptySiteWarnings() covers it.
    if (isNamed || answers.addressesOf(host).size > 0) return [];
    return [
      { ...at, message: `${name} has no address in its zone`, advice: "add it to steering, or add a record for it" },
    ];
  });
}

/** Random small worlds: a fleet, the state and load of its sites, one steered name, and geo tables of a few ranges. */
import type { Random } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import type { SteeredName } from "#document/schema/steering.ts";
import type { SiteState } from "#health/health.ts";
import { emptyGeo, sharedUint32, type GeoTables, type RangeTable } from "../../../dns/geo/tables.ts";
import { emptyAddress, ipToText, maskIp, parsePrefix, type Family, type IpAddress } from "../../../dns/wire/address.ts";
import { kmBetween, keyOf } from "./oracle.ts";
import type { World, WorldPlace } from "./world.ts";

/** Ranges of one family: each reaches from its key (see oracle.ts) to the next one's. */
type Ranges = readonly { readonly from: bigint; readonly value: number }[];

export const below = (random: Random, limit: number): number => Math.floor(random() * limit);
export const oneOf = <Item>(random: Random, items: readonly Item[]): Item => {
  const item = items[below(random, items.length)];
  if (item === undefined) throw new RangeError("nothing to choose from");
  return item;
};

const countries = ["DE", "US", "JP"];
const asNumbers = [64_500, 64_501, 64_500 + 65_536, 4_200_000_000];
const nowhere: WorldPlace = { latitude: Number.NaN, longitude: Number.NaN };

/** Stems in which most of a world's networks lie, so that they meet. */
const stems: { readonly [family in Family]: readonly string[] } = {
  4: ["10.0.0.0/20", "10.0.0.0/8", "10.0.3.0/24", "192.168.0.0/16", "0.0.0.0/0", "255.255.255.0/24", "0.0.0.0/24"],
  6: [
    "2001:db8::/44",
    "2001:db8::/29",
    "2001:db8:0:5::/48",
    "2a00::/12",
    "::/0",
    "ffff:ffff::/32",
    "::/16",
    "2001:db8:ffff:fffe::/63",
    "ffff:ffff:ffff:fffc::/62",
  ],
};

/** A random network whose bits past its length are zero. */
export function randomNetwork(random: Random, family: Family): { address: IpAddress; prefixLength: number } {
  const stem = parsePrefix(oneOf(random, stems[family]));
  if (stem === undefined) throw new RangeError("a stem is no prefix");
  const bitsMax = family === 4 ? 32 : 64;
  const prefixLength = Math.min(bitsMax, stem.prefixLength + below(random, bitsMax - stem.prefixLength + 1));
  const address = emptyAddress();
  address.family = family;
  for (let i = 0; i < bitsMax / 8; i++) {
    const fixed = 0xff & (0xff00 >> Math.min(8, Math.max(0, stem.prefixLength - 8 * i)));
    address.bytes[i] = ((stem.address.bytes[i] ?? 0) & fixed) | (below(random, 256) & ~fixed & 0xff);
  }
  maskIp(address, prefixLength);
  return { address, prefixLength };
}

export function textOf({ address, prefixLength }: { address: IpAddress; prefixLength: number }): string {
  return `${ipToText(address)}/${prefixLength}`;
}

/** An address that is filled from keys again and again: a million of them would keep the collector busy. */
export function scratchAddress(family: Family): (key: bigint) => IpAddress {
  const address = emptyAddress();
  address.family = family;
  const view = new DataView(address.bytes.buffer);
  return (key) => {
    view.setBigUint64(0, key);
    return address;
  };
}

export function randomWorld(random: Random): World {
  const sites = randomSites(random);
  const names = sites.map(({ name }) => name);
  const steered = randomSteered(random, names);
  const isCalm = random() < 0.4;
  const isCrowded = random() < 0.1;
  const states = new Map<string, SiteState>();
  const keptShares = new Map<string, number>();
  for (const name of names) {
    if (random() < 0.9) states.set(name, oneOf(random, ["up", "up", "up", "up", "draining", "down"] as const));
    if (isCrowded) keptShares.set(name, random() * 0.3);
    else if (!isCalm && random() < 0.6) keptShares.set(name, oneOf(random, [0, 1, random(), random(), 0.95]));
  }
  const places = [nowhere, ...Array.from({ length: 1 + below(random, 12) }, () => randomPlace(random, sites, steered))];
  const hasAsns = random() < 0.5;
  const ranges = { 4: randomRanges(random, 4, places.length), 6: randomRanges(random, 6, places.length) };
  const asns = { 4: randomRanges(random, 4, asNumbers.length + 1), 6: randomRanges(random, 6, asNumbers.length + 1) };
  const asnOf = (value: number) => (value === 0 ? 0 : (asNumbers[value - 1] ?? 0));
  const geo: GeoTables = {
    ...emptyGeo,
    places: tableOf(ranges, (value) => value),
    latitudes: shared(places.map((place) => place.latitude)),
    longitudes: shared(places.map((place) => place.longitude)),
    countries: Uint16Array.from(places, ({ country = "\0\0" }) => (country.charCodeAt(0) << 8) | country.charCodeAt(1)),
    asns: hasAsns ? tableOf(asns, asnOf) : undefined,
  };
  return {
    fleet: fleetOf(sites, [steered]),
    self: oneOf(random, [...names, "elsewhere"]),
    states,
    keptShares,
    geo,
    placeAt: (family, key) => places[valueAt(ranges[family], key)] ?? nowhere,
    asnAt: (family, key) => (hasAsns ? asnOf(valueAt(asns[family], key)) : 0),
    sitePlace: (at) => sites[at]?.place ?? nowhere,
    edges: (family) => edgesOf(family, [...ranges[family], ...asns[family]], steered),
  };
}

type WorldSite = Pick<Fleet["sites"][number], "name" | "place" | "addresses">;

/** The parts of a fleet document that steering reads. */
export function fleetOf(sites: readonly WorldSite[], steering: readonly SteeredName[]): Fleet {
  const whole: Pick<Fleet, "anycast" | "steering"> & { sites: readonly WorldSite[] } = {
    anycast: { addresses: ["203.0.113.1", "2001:db8:ffff::1"], clouds: [] },
    sites,
    steering: [...steering],
  };
  return whole as Fleet;
}

function randomSites(random: Random): WorldSite[] {
  const count = 1 + below(random, oneOf(random, [3, 5, 11]));
  const place = () => ({ latitude: random() * 180 - 90, longitude: random() * 360 - 180 });
  const twin = place();
  return Array.from({ length: count }, (_, at) => ({
    name: `s${at}`,
    // Now and then two sites in one place, so that the document's order has to decide.
    place: random() < 0.1 ? twin : place(),
    addresses: oneOf(random, [[`10.9.0.${at}`], [`10.9.0.${at}`, `fd00::${at}`], [`10.9.0.${at}`], [`fd00::${at}`]]),
  }));
}

function randomSteered(random: Random, names: readonly string[]): SteeredName {
  const some = () => Array.from({ length: 1 + below(random, 3) }, () => oneOf(random, names));
  const weights = Object.fromEntries(names.filter(() => random() < 0.5).map((name) => [name, below(random, 4)]));
  const overrides = Array.from({ length: below(random, oneOf(random, [1, 4, 12])) }, () => ({
    ...oneOf(random, [
      () => ({ country: oneOf(random, countries) }),
      () => ({ asn: oneOf(random, asNumbers) }),
      () => ({ cidr: textOf(randomNetwork(random, 4)) }),
      () => ({ cidr: textOf(randomNetwork(random, 6)) }),
      () => ({ cidr: textOf(randomNetwork(random, 4)) }),
      () => ({ cidr: textOf(randomNetwork(random, 6)) }),
    ])(),
    ...(random() < 0.6 ? { site: oneOf(random, names) } : { sites: some() }),
  }));
  const keys = new Set<string>();
  return {
    name: "img.cdn.test",
    policy: oneOf(random, ["geo", "geo", "geo", "geo", "geo", "geo", "weighted", "fixed", "local", "anycast"] as const),
    ttlSeconds: 30,
    ttlFloorSeconds: 10,
    withinKm: random() < 0.6 ? 0 : below(random, oneOf(random, [500, 5000, 20_000])),
    ...(random() < 0.3 ? { sites: some() } : {}),
    ...(random() < 0.6 ? { weights } : {}),
    // Two overrides of one key are refused by the document's check.
    overrides: overrides.filter(({ site: _site, sites: _sites, ...key }: Record<string, unknown>) => {
      const text = JSON.stringify(key);
      return keys.has(text) ? false : keys.add(text);
    }),
  };
}

/** A place that is clearly nearer to one site than to the next, where these are not in one place. */
function randomPlace(random: Random, sites: readonly WorldSite[], { withinKm }: SteeredName): WorldPlace {
  const country = random() < 0.8 ? oneOf(random, countries) : undefined;
  if (random() < 0.1) return { ...nowhere, country };
  for (;;) {
    const place: WorldPlace = {
      latitude: Math.fround(random() * 180 - 90),
      longitude: Math.fround(random() * 360 - 180),
      country,
    };
    const km = sites.map((site) => kmBetween(site.place, place));
    const isClear = km.every((a) =>
      km.every((b) => a === b || (Math.abs(a - b) > 0.05 && Math.abs(Math.abs(a - b) - withinKm) > 0.05)),
    );
    if (isClear) return place;
  }
}

function randomRanges(random: Random, family: Family, valuesCount: number): Ranges {
  const starts = new Set([0n]);
  for (let i = below(random, oneOf(random, [1, 8, 30])); i > 0; i--) {
    const { address, prefixLength } = randomNetwork(random, family);
    starts.add(keyOf(address));
    const end = keyOf(address) + (1n << BigInt(64 - prefixLength));
    if (end < 1n << 64n) starts.add(end);
  }
  const ranges: { from: bigint; value: number }[] = [];
  for (const from of [...starts].toSorted((a, b) => (a < b ? -1 : 1))) {
    const value = below(random, valuesCount);
    if (ranges.at(-1)?.value !== value) ranges.push({ from, value });
  }
  return ranges;
}

function valueAt(ranges: Ranges, key: bigint): number {
  return ranges.findLast(({ from }) => from <= key)?.value ?? 0;
}

function tableOf(ranges: { [family in Family]: Ranges }, valueOf: (value: number) => number): RangeTable {
  const v4Starts = sharedUint32(ranges[4].length);
  const v6Starts = sharedUint32(2 * ranges[6].length);
  for (const [at, { from }] of ranges[4].entries()) v4Starts[at] = Number(from >> 32n);
  for (const [at, { from }] of ranges[6].entries()) {
    v6Starts[2 * at] = Number(from >> 32n);
    v6Starts[2 * at + 1] = Number(from & 0xffff_ffffn);
  }
  return {
    v4Starts,
    v4Values: Uint32Array.from(ranges[4], ({ value }) => valueOf(value)),
    v6Starts,
    v6Values: Uint32Array.from(ranges[6], ({ value }) => valueOf(value)),
  };
}

function shared(values: readonly number[]): Float32Array {
  const array = new Float32Array(new SharedArrayBuffer(4 * values.length));
  array.set(values);
  return array;
}

function edgesOf(family: Family, ranges: Ranges, { overrides }: SteeredName): bigint[] {
  const edges = new Set(ranges.map(({ from }) => from));
  for (const { cidr } of overrides) {
    const prefix = cidr === undefined ? undefined : parsePrefix(cidr);
    if (prefix?.address.family !== family) continue;
    const from = keyOf(prefix.address);
    edges.add(from);
    const end = from + (1n << BigInt(64 - prefix.prefixLength));
    if (end < 1n << 64n) edges.add(end);
  }
  return [...edges].toSorted((a, b) => (a < b ? -1 : 1));
}

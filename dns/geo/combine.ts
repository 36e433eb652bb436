/**
 * Combines the parts of several geo files into one set of tables. When only one file has changed, it extracts the other
 * parts from the tables again, because nothing else is kept.
 *
 *   part 1: IPv4, 423,000 places ─┐   ranges: for each family, those of the first part that has it
 *   part 2: IPv6, 277,000 places ─┴▶  places: "nothing", then those of part 1, then those of part 2
 */
import type { GeoPart } from "./mmdb.ts";
import type { PlaceList } from "./distinct-places.ts";
import { emptyGeo, sharedUint32, tableOf, type GeoSource, type GeoTables, type Ranges } from "./tables.ts";

/** A file with the part that was read from it. Without a part, the file was missing or rejected. */
export interface GeoInput {
  readonly path: string;
  readonly kind: "places" | "asns";
  readonly identity: string;
  readonly part: GeoPart | undefined;
}

export function combineGeo(inputs: readonly GeoInput[]): GeoTables {
  const sources: GeoSource[] = [];
  const lists: PlaceList[] = [];
  const taken: Record<GeoInput["kind"], { v4?: Ranges; v6?: Ranges }> = { places: {}, asns: {} };
  let placesBefore = 0;
  for (const { path, kind, identity, part } of inputs) {
    const into = taken[kind];
    const hasV4 = part?.v4 !== undefined && into.v4 === undefined;
    const hasV6 = part?.v6 !== undefined && into.v6 === undefined;
    const isUsed = part !== undefined && (hasV4 || hasV6);
    const shift = kind === "places" && part !== undefined ? placesBefore - part.placesBefore : 0;
    if (hasV4) into.v4 = shifted(part.v4, shift);
    if (hasV6) into.v6 = shifted(part.v6, shift);
    const placesCount = isUsed ? part.places.count : 0;
    const description = isUsed ? part.description : "";
    sources.push({ path, kind, identity, description, hasV4, hasV6, placesBefore, placesCount });
    if (isUsed) lists.push(part.places);
    placesBefore += placesCount;
  }
  const used = sources.filter(({ description }) => description !== "");
  return {
    description: used.length === 0 ? emptyGeo.description : used.map(({ description }) => description).join(", "),
    places: tableOf(taken.places.v4, taken.places.v6),
    ...joinLists(lists, placesBefore),
    asns:
      taken.asns.v4 === undefined && taken.asns.v6 === undefined ? undefined : tableOf(taken.asns.v4, taken.asns.v6),
    sources,
  };
}

/** The part that the tables took from one of their files, without a copy; undefined if they took nothing. */
export function partOf(geo: GeoTables, source: GeoSource): GeoPart | undefined {
  const { description, hasV4, hasV6, placesBefore, placesCount } = source;
  const table = source.kind === "places" ? geo.places : geo.asns;
  if (description === "" || table === undefined) return undefined;
  const first = placesBefore + 1;
  const past = first + placesCount;
  return {
    description,
    v4: hasV4 ? { starts: table.v4Starts, values: table.v4Values } : undefined,
    v6: hasV6 ? { starts: table.v6Starts, values: table.v6Values } : undefined,
    places: {
      count: placesCount,
      latitudes: geo.latitudes.subarray(first, past),
      longitudes: geo.longitudes.subarray(first, past),
      countries: geo.countries.subarray(first, past),
      cityStarts: geo.cityStarts.subarray(first, past + 1),
      cityBytes: geo.cityBytes,
    },
    placesBefore,
  };
}

/** The ranges with `shift` added to each known value; the same object if `shift` is 0. */
function shifted(ranges: Ranges, shift: number): Ranges {
  if (shift === 0) return ranges;
  const values = sharedUint32(ranges.values.length);
  for (let i = 0; i < values.length; i++) {
    const value = ranges.values[i] ?? 0;
    values[i] = value === 0 ? 0 : value + shift;
  }
  return { starts: ranges.starts, values };
}

type Places = Pick<GeoTables, "latitudes" | "longitudes" | "countries" | "cityStarts" | "cityBytes">;

/** All places, after the "nothing" entry. */
function joinLists(lists: readonly PlaceList[], count: number): Places {
  const cityBytesTotal = lists.reduce((sum, list) => sum + cityBytesOf(list).length, 0);
  const places = {
    latitudes: new Float32Array(new SharedArrayBuffer(4 * (count + 1))),
    longitudes: new Float32Array(new SharedArrayBuffer(4 * (count + 1))),
    countries: new Uint16Array(new SharedArrayBuffer(2 * (count + 1))),
    cityStarts: sharedUint32(count + 2),
    cityBytes: new Uint8Array(new SharedArrayBuffer(cityBytesTotal)),
  };
  places.latitudes[0] = Number.NaN;
  places.longitudes[0] = Number.NaN;
  let at = 1;
  let cityAt = 0;
  for (const list of lists) {
    places.latitudes.set(list.latitudes.subarray(0, list.count), at);
    places.longitudes.set(list.longitudes.subarray(0, list.count), at);
    places.countries.set(list.countries.subarray(0, list.count), at);
    const cities = cityBytesOf(list);
    places.cityBytes.set(cities, cityAt);
    const shift = cityAt - (list.cityStarts[0] ?? 0);
    for (let i = 0; i <= list.count; i++) places.cityStarts[at + i] = (list.cityStarts[i] ?? 0) + shift;
    at += list.count;
    cityAt += cities.length;
  }
  return places;
}

function cityBytesOf({ cityBytes, cityStarts, count }: PlaceList): Uint8Array {
  return cityBytes.subarray(cityStarts[0], cityStarts[count]);
}

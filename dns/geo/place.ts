/**
 * Where a client network is, as far as anybody knows: what geo data answers and steering asks.
 *
 * A match always says for which prefix it holds, also when nothing is known: steering builds the scope of its
 * answers (RFC 7871 §7.2.1) on that.
 */
import type { IpAddress } from "../wire/address.ts";

export interface Place {
  /** Degrees; undefined when the data know the country only. */
  readonly latitude: number | undefined;
  readonly longitude: number | undefined;
  /** ISO 3166-1 alpha-2, upper case. */
  readonly country: string | undefined;
  readonly city: string | undefined;
}

export interface GeoMatch {
  /** Undefined where the data have nothing. */
  readonly place: Place | undefined;
  /** Every address that shares this many leading bits has the same place. */
  readonly prefixLength: number;
}

export interface GeoSource {
  /** For people: the files, or that there are none. */
  readonly description: string;
  find: (address: IpAddress) => GeoMatch;
}

const nothing: GeoMatch = { place: undefined, prefixLength: 0 };

/** No geo data: steering falls back to the document's order. */
export const noGeo: GeoSource = { description: "no geo data", find: () => nothing };

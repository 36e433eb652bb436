/**
 * Files of queries for dnsperf, in its binary form (each message preceded by its length in two octets, RFC 1035
 * §4.2.2): only this form lets each query carry its own client subnet. All queries have an OPT record, like those of
 * resolvers.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encode, type Packet, type PacketOpt } from "dns-packet";
import { seededRandom } from "#base/random.ts";
import type { Lab } from "./lab.ts";
import { benchZone, imagesHost } from "./nearcast.ts";

/** Static names of the zone: `h0` up to this number. */
export const staticNamesCount = 1000;
const queriesCount = 100_000;
const udpSize = 1232;
/** RFC 7871 §6. */
const clientSubnet = 8;

export interface QueryFile {
  title: string;
  path: string;
  /** What the servers must answer. */
  rcode: "NOERROR" | "NXDOMAIN";
}

export function staticName(index: number): string {
  return `h${index}.${benchZone}`;
}

export function staticAddress(index: number): string {
  return `198.51.100.${index % 256}`;
}

/** Random static names, all of which exist. */
export async function storeStaticQueries(lab: Lab): Promise<QueryFile> {
  const random = seededRandom(1);
  const names = Array.from({ length: queriesCount }, () => staticName(Math.floor(random() * staticNamesCount)));
  return await store(
    lab,
    "static",
    "Static A, 1,000 names",
    "NOERROR",
    names.map((name) => queryFor(name)),
  );
}

/** Names that do not exist, all different. */
export async function storeMissingQueries(lab: Lab): Promise<QueryFile> {
  const queries = Array.from({ length: queriesCount }, (_none, index) => queryFor(`x${index}.${benchZone}`));
  return await store(lab, "missing", "NXDOMAIN, 100,000 names", "NXDOMAIN", queries);
}

/**
 * One steered name for clients of random /24 networks, as their resolvers forward them in EDNS Client Subnet (RFC
 * 7871).
 */
export async function storeSubnetQueries(lab: Lab): Promise<QueryFile> {
  const random = seededRandom(2);
  const octet = (below: number): number => Math.floor(random() * below);
  const queries = Array.from({ length: queriesCount }, () =>
    queryFor(imagesHost, `${1 + octet(223)}.${octet(256)}.${octet(256)}.0`),
  );
  return await store(lab, "subnets", "Geo by client subnet, 100,000 random /24", "NOERROR", queries);
}

/** @param subnet the client's /24, if the resolver forwards it */
export function queryFor(name: string, subnet?: string): Buffer {
  const options: PacketOpt[] = [];
  if (subnet !== undefined) {
    options.push({ code: clientSubnet, type: "CLIENT_SUBNET", family: 1, sourcePrefixLength: 24, ip: subnet });
  }
  const packet: Packet = {
    type: "query",
    id: 0,
    flags: 0,
    questions: [{ type: "A", name }],
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: udpSize,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options,
      },
    ],
  };
  return encode(packet);
}

async function store(
  lab: Lab,
  name: string,
  title: string,
  rcode: QueryFile["rcode"],
  queries: readonly Buffer[],
): Promise<QueryFile> {
  const path = join(lab.directory, `${name}.queries`);
  const framed = queries.flatMap((query) => [Buffer.from([query.length >> 8, query.length & 255]), query]);
  await writeFile(path, Buffer.concat(framed));
  return { title, path, rcode };
}

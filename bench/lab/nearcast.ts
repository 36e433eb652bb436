/** A nearcast origin and one edge, each as a process like a user would start it, on addresses of the lab. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { Lab, Pin, Program } from "./lab.ts";

export const benchZone = "bench.test";
export const imagesHost = `img.${benchZone}`;
/** For hosts of the kind `assets`. */
export const filesHost = `files.${benchZone}`;

/** Who owns the connections: the main thread, or a lane. */
export const fronts = [
  { name: "nearcast", lanes: 0 },
  { name: "nearcast, lane", lanes: 1 },
] as const;

/**
 * Service addresses of the sites in the answers of every server in this folder; reserved for documentation (RFC 5737).
 */
export const benchSites = [
  { name: "fra", latitude: 50.11, longitude: 8.68, address: "192.0.2.11" },
  { name: "nyc", latitude: 40.71, longitude: -74.01, address: "192.0.2.12" },
  { name: "tyo", latitude: 35.68, longitude: 139.69, address: "192.0.2.13" },
] as const;

export interface Nearcast {
  /** Base URL of the edge; the bare address serves the images host. */
  url: string;
  address: string;
  edge: Program;
  /** Stores a picture at the origin. */
  put: (name: string, picture: Buffer) => Promise<void>;
  stop: () => Promise<void>;
}

/**
 * @param options.pin where the edge runs; the origin, idle while anything is measured, runs anywhere
 * @param options.edge merged into the edge's configuration; receives the edge's address
 * @param options.hosts further hosts of the fleet document
 * @param options.records further records of the zone
 */
export async function startNearcast(
  lab: Lab,
  options: { pin: Pin; edge?: (address: string) => object; hosts?: readonly object[]; records?: readonly object[] },
): Promise<Nearcast> {
  const [originAddress, address] = [lab.address(), lab.address()];
  const directory = join(lab.directory, `nearcast-${address}`);
  const originUrl = `http://${originAddress}:7070`;
  const url = `http://${address}:8080`;
  const adminUrl = `http://${address}:8081`;
  const secrets = join(directory, "origin", "secrets");

  async function start(name: "origin" | "edge", pin: Pin, config: object, isReady: () => Promise<boolean>) {
    const path = `${directory}-${name}.yaml`;
    await writeFile(path, stringify(config));
    const main = fileURLToPath(new URL(`../../${name === "edge" ? "node" : "origin"}/main.ts`, import.meta.url));
    const args = [main, "--config", path, "--with-parent"];
    return await lab.start({ name: `nearcast ${name}`, command: process.execPath, args, pin }, isReady);
  }
  const isOk = async (of: string): Promise<boolean> => (await fetch(of)).ok;

  const origin = await start(
    "origin",
    "none",
    { listen: { host: originAddress, port: 7070 }, dataDir: join(directory, "origin"), log: { level: "warn" } },
    () => isOk(`${originUrl}/healthz`),
  );
  const writer = (await readFile(join(secrets, "writer.token"), "utf8")).trim();

  async function send(path: string, type: string, body: string | Buffer): Promise<void> {
    const headers = { authorization: `Bearer ${writer}`, "content-type": type };
    const bytes = typeof body === "string" ? body : new Uint8Array(body);
    const answer = await fetch(`${originUrl}/api/v1${path}`, { method: "PUT", headers, body: bytes });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`the origin refused ${path}: ${answer.status} ${text}`);
  }
  const fleet = {
    zones: [
      {
        name: benchZone,
        nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }],
        records: options.records ?? [],
      },
    ],
    // Forced up: health is not measured here, and the other two sites have no machines.
    sites: benchSites.map((site) => ({
      name: site.name,
      place: { latitude: site.latitude, longitude: site.longitude },
      addresses: [site.address],
      state: "up",
      nodes: [{ name: `${site.name}1`, http: url }],
    })),
    hosts: [{ name: imagesHost, kind: "images" }, ...(options.hosts ?? [])],
    steering: [{ name: imagesHost, policy: "geo", ttlSeconds: 30, ttlFloorSeconds: 30 }],
  };
  await send("/fleet", "application/yaml", stringify(fleet));
  const config = {
    node: "fra1",
    site: "fra",
    dataDir: join(directory, "edge"),
    origin: { url: originUrl, tokenFile: join(secrets, "edge.token") },
    http: [{ host: address, port: 8080 }],
    admin: { host: address, port: 8081 },
    dns: { addresses: [] },
    assets: { privateNetworks: ["127.0.0.0/8"] },
    drainMs: 0,
    logLevel: "warn",
    ...options.edge?.(address),
  };
  const edge = await start("edge", options.pin, config, () => isOk(`${adminUrl}/readyz`));
  return {
    url,
    address,
    edge,
    put: (name, picture) => send(`/images/${name}`, "application/octet-stream", picture),
    async stop() {
      await edge.stop();
      await origin.stop();
    },
  };
}

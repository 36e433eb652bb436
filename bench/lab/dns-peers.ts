/**
 * Other DNS servers with the zone of nearcast.ts. Each has one thread for UDP and is configured as its manual advises
 * for an authoritative server of one zone. gdnsd and PowerDNS steer by location; Knot (whose module is a separate
 * package) and NSD answer static names only.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ask } from "./dnsperf.ts";
import { queryFor, staticAddress, staticName, staticNamesCount } from "./dns-queries.ts";
import type { GeoFile } from "./geo-file.ts";
import { findProgram, type Lab, type Program } from "./lab.ts";
import { benchSites, benchZone, imagesHost } from "./nearcast.ts";

export interface DnsPeer {
  name: string;
  program: Program;
  address: string;
  port: number;
}

export type DnsPeerStart = { started: DnsPeer } | { absent: string };

const port = 5300;
const soa = `ns1.${benchZone}. hostmaster.${benchZone}. 1 7200 3600 1209600 60`;

interface Recipe {
  name: string;
  program: string;
  /** Writes the server's files into `directory` and returns its arguments. */
  configure: (directory: string, address: string) => Promise<readonly string[]>;
}

/** The static zone as an RFC 1035 file. */
function zoneFile(more: string): string {
  const hosts = Array.from({ length: staticNamesCount }, (_none, index) => {
    return `${staticName(index)}. 300 IN A ${staticAddress(index)}`;
  });
  const head = [`$ORIGIN ${benchZone}.`, `@ 60 IN SOA ${soa}`, "@ 300 IN NS ns1", "ns1 300 IN A 192.0.2.53"];
  return `${[...head, ...hosts, more].join("\n")}\n`;
}

function gdnsd(geo: GeoFile | undefined): Recipe {
  return {
    name: "gdnsd",
    program: "gdnsd",
    async configure(directory, address) {
      await Promise.all(["zones", "run", "state"].map((name) => mkdir(join(directory, name))));
      const names = benchSites.map((site) => site.name).join(", ");
      const places = benchSites.map((site) => `${site.name} => [${site.latitude}, ${site.longitude}]`).join(", ");
      const addresses = benchSites.map((site) => `${site.name} => ${site.address}`).join(", ");
      const map = geo && `{ geoip2_db => "${geo.path}", datacenters => [${names}], auto_dc_coords => { ${places} } }`;
      const plugin = `plugins => { geoip => {
  maps => { sites => ${map} }
  resources => { img => { map => sites, service_types => up, dcmap => { ${addresses} } } }
} }`;
      const config = `options => {
  listen => "${address}:${port}"
  udp_threads => 1
  tcp_threads => 1
  run_dir => "${directory}/run"
  state_dir => "${directory}/state"
}
${geo === undefined ? "" : plugin}
`;
      await writeFile(join(directory, "config"), config);
      const steered = geo === undefined ? "" : `${imagesHost}. 30 DYNA geoip!img`;
      await writeFile(join(directory, "zones", benchZone), zoneFile(steered));
      return ["-c", directory, "start"];
    },
  };
}

const knot: Recipe = {
  name: "knot",
  program: "knotd",
  async configure(directory, address) {
    await writeFile(join(directory, "zone"), zoneFile(""));
    const config = `server:
    rundir: "${directory}"
    listen: ${address}@${port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: warning
database:
    storage: "${directory}/db"
zone:
  - domain: ${benchZone}
    storage: "${directory}"
    file: "zone"
`;
    await writeFile(join(directory, "knot.conf"), config);
    return ["-c", join(directory, "knot.conf")];
  },
};

const nsd: Recipe = {
  name: "nsd",
  program: "nsd",
  async configure(directory, address) {
    await writeFile(join(directory, "zone"), zoneFile(""));
    const config = `server:
  ip-address: ${address}@${port}
  server-count: 1
  username: ""
  zonesdir: "${directory}"
  database: ""
  pidfile: ""
  xfrdfile: "${directory}/xfrd.state"
  xfrdir: "${directory}"
  zonelistfile: "${directory}/zone.list"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: ${benchZone}
  zonefile: "zone"
`;
    await writeFile(join(directory, "nsd.conf"), config);
    return ["-d", "-c", join(directory, "nsd.conf")];
  },
};

function powerdns(geo: GeoFile | undefined): Recipe {
  const common = (directory: string, address: string): string[] => [
    `local-address=${address}`,
    `local-port=${port}`,
    `socket-dir=${directory}`,
    "daemon=no",
    "guardian=no",
    "receiver-threads=1",
    "distributor-threads=1",
    "version-string=anonymous",
    "security-poll-suffix=",
    "loglevel=3",
  ];
  async function configureStatic(directory: string): Promise<string[]> {
    await writeFile(join(directory, "zone"), zoneFile(""));
    const named = `zone "${benchZone}" { type master; file "${directory}/zone"; };\n`;
    await writeFile(join(directory, "named.conf"), named);
    return ["launch=bind", `bind-config=${directory}/named.conf`];
  }
  async function configureGeo(directory: string, { path, countries }: GeoFile): Promise<string[]> {
    const mapping = [...countries].map(([code, place]) => `    ${JSON.stringify(code)}: ${nearestSite(place)}`);
    const sites = benchSites.map(({ name, address }) => `    ${name}.site.${benchZone}:\n      - a: ${address}`);
    const yaml = `domains:
- domain: ${benchZone}
  ttl: 30
  records:
    ${benchZone}:
      - soa: ${soa.replaceAll(". ", " ")}
      - ns: ns1.${benchZone}
    ns1.${benchZone}:
      - a: 192.0.2.53
${sites.join("\n")}
  services:
    ${imagesHost}: ['%mp.site.${benchZone}', '${benchSites[0].name}.site.${benchZone}']
mapping_lookup_formats: ['%cc']
custom_mapping:
${mapping.join("\n")}
`;
    await writeFile(join(directory, "geo.yaml"), yaml);
    const files = [`geoip-zones-file=${directory}/geo.yaml`, `geoip-database-files=mmdb:${path}`];
    return ["launch=geoip", ...files, "edns-subnet-processing=yes"];
  }
  return {
    name: "powerdns",
    program: "pdns_server",
    async configure(directory, address) {
      const own = geo === undefined ? await configureStatic(directory) : await configureGeo(directory, geo);
      await writeFile(join(directory, "pdns.conf"), `${[...common(directory, address), ...own].join("\n")}\n`);
      return [`--config-dir=${directory}`];
    },
  };
}

/** The site by great-circle distance, for responders that steer by country. */
function nearestSite({ latitude, longitude }: { latitude: number; longitude: number }): string | undefined {
  const radians = (degrees: number): number => (degrees * Math.PI) / 180;
  const closeness = (site: (typeof benchSites)[number]): number =>
    Math.sin(radians(latitude)) * Math.sin(radians(site.latitude)) +
    Math.cos(radians(latitude)) * Math.cos(radians(site.latitude)) * Math.cos(radians(longitude - site.longitude));
  return benchSites.toSorted((a, b) => closeness(b) - closeness(a))[0]?.name;
}

/** Starts the servers that are installed: with `geo`, those that steer; without it, all of them with static names. */
export async function startDnsPeers(lab: Lab, geo: GeoFile | undefined): Promise<DnsPeerStart[]> {
  const recipes = geo === undefined ? [gdnsd(geo), knot, nsd, powerdns(geo)] : [gdnsd(geo), powerdns(geo)];
  const starts: DnsPeerStart[] = [];
  for (const recipe of recipes) starts.push(await startPeer(lab, recipe, geo !== undefined));
  return starts;
}

async function startPeer(lab: Lab, { name, program, configure }: Recipe, isSteering: boolean): Promise<DnsPeerStart> {
  const command = findProgram(program);
  if (command === undefined) return { absent: `${name}: not installed, see bench/peers.md` };
  const address = lab.address();
  const directory = join(lab.directory, `${name}-${address}`);
  await mkdir(directory);
  const question = isSteering ? queryFor(imagesHost, "133.11.1.0") : queryFor(staticName(7));
  const expected = isSteering ? "192.0.2.13" : staticAddress(7);
  try {
    const args = await configure(directory, address);
    const isReady = async (): Promise<boolean> => (await ask(address, port, question)) === expected;
    const started = await lab.start({ name, command, args, pin: "server" }, isReady);
    return { started: { name, program: started, address, port } };
  } catch (error) {
    return { absent: `${name}: could not be started: ${(error as Error).message}` };
  }
}

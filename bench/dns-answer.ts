/**
 * What does a DNS answer cost? Static names, names that do not exist, and a name steered by client network: nearcast,
 * gdnsd, Knot, NSD and PowerDNS with the same zone, and with the same city database where they steer by one.
 */
import assert from "node:assert/strict";
import { type DnsPeerStart, startDnsPeers } from "./lab/dns-peers.ts";
import {
  type QueryFile,
  queryFor,
  staticAddress,
  staticName,
  staticNamesCount,
  storeMissingQueries,
  storeStaticQueries,
  storeSubnetQueries,
} from "./lab/dns-queries.ts";
import { ask, type DnsTarget, flood, steadyRate, timeAnswers } from "./lab/dnsperf.ts";
import { comparison, type Report, type Sample, type Table } from "./lab/figures.ts";
import { storeGeoFile } from "./lab/geo-file.ts";
import { versionOf } from "./lab/http-peers/peer.ts";
import type { Lab } from "./lab/lab.ts";
import { benchSites, imagesHost, startNearcast } from "./lab/nearcast.ts";
import { takeTurns } from "./lab/rounds.ts";

const dnsPort = 5300;

/** Networks whose location is certain, with the nearest site. */
const knownPlaces = [
  ["133.11.1.0", "tyo"],
  ["81.2.69.0", "fra"],
  ["8.8.8.0", "nyc"],
] as const;

export async function measureDnsAnswer(lab: Lab): Promise<Report> {
  lab.say("writing the city database in the form that all of them read");
  const geo = await storeGeoFile(lab);
  const records = Array.from({ length: staticNamesCount }, (_none, index) => {
    return { name: `${staticName(index)}.`, type: "A", address: staticAddress(index) };
  });
  async function startOurs(
    name: string,
    threads: number,
  ): Promise<DnsTarget & { name: string; stop: () => Promise<void> }> {
    const started = await startNearcast(lab, {
      pin: "server",
      records,
      // Like the others: one thread for UDP, no limit per client, answers of any size.
      edge: (address) => ({
        dns: {
          addresses: [{ host: address, port: dnsPort }],
          geoFiles: [geo.path],
          threads,
          responsesPerSecond: 0,
          amplificationMax: 0,
        },
      }),
    });
    return { name, program: started.edge, address: started.address, port: dnsPort, stop: started.stop };
  }
  const ours = [await startOurs("nearcast", 1), await startOurs("nearcast on dgram", 0)];
  const absent = new Set<string>();
  const tables: Table[] = [];
  const samples: Record<string, unknown> = {};

  async function compare(queries: QueryFile, starts: readonly DnsPeerStart[]): Promise<void> {
    for (const start of starts) if ("absent" in start) absent.add(start.absent);
    const peers = starts.flatMap((start) => ("started" in start ? [start.started] : []));
    const servers = [...ours, ...peers];
    const times = new Map<string, { p50Ms: number; p99Ms: number }>();
    for (const server of servers) {
      await flood(lab, server, queries, 1); // Warm-up, at the concurrency of the rounds.
      times.set(server.name, await timeAnswers(lab, server, queries));
    }
    const taken = await takeTurns(
      lab,
      servers.map((server) => ({
        name: server.name,
        measure: async (seconds): Promise<Sample> => ({
          ...(await flood(lab, server, queries, seconds)),
          ...(times.get(server.name) ?? { p50Ms: Number.NaN, p99Ms: Number.NaN }),
        }),
      })),
    );
    tables.push(comparison(queries.title, taken, "gdnsd"));
    samples[queries.title] = Object.fromEntries(taken);
  }

  const starts = await startDnsPeers(lab, undefined);
  await compare(await storeStaticQueries(lab), starts);
  await compare(await storeMissingQueries(lab), starts);
  for (const start of starts) if ("started" in start) await start.started.program.stop();

  const steering = await startDnsPeers(lab, geo);
  for (const start of steering) if ("started" in start) await checkPlaces(start.started);
  for (const one of ours) await checkPlaces(one);
  await compare(await storeSubnetQueries(lab), steering);
  for (const start of steering) if ("started" in start) await start.started.program.stop();
  for (const one of ours) await one.stop();

  const versions = [
    ["gdnsd", versionOf("gdnsd", ["-V"])],
    ["knot", versionOf("knotd", ["-V"])],
    ["nsd", versionOf("nsd", ["-v"])],
    ["powerdns", versionOf("pdns_server", ["--version"])],
  ];
  return {
    question: "dns-answer",
    tables,
    notes: [
      `rate and CPU time: dnsperf over UDP at full speed, every query with an OPT record; ` +
        `p50 and p99: at a steady ${steadyRate} queries a second`,
      `${versions.map(([name, version]) => `${name} ${version}`).join(", ")}; PowerDNS with its default caches`,
      "nearcast: one batch thread; on dgram: dns.threads 0, all on the main thread",
      "geo: nearcast and gdnsd take the nearest site by distance, PowerDNS by country; the same database file for all",
    ],
    absent: [...absent],
    samples,
  };
}

/** A comparison of wrong answers would be worthless. */
async function checkPlaces({ program, address, port }: DnsTarget): Promise<void> {
  for (const [network, name] of knownPlaces) {
    const expected = benchSites.find((site) => site.name === name)?.address;
    const got = await ask(address, port, queryFor(imagesHost, network));
    assert.equal(got, expected, `${program.name} sends ${network} to ${got}, the nearest site is ${name}`);
  }
}

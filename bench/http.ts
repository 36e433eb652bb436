/**
 * What does a hit cost over HTTP/1.1, over TLS 1.3 and over HTTP/2? Objects of 1, 16, 64 and 256 KB in memory, as many
 * requests as one core answers, and then a steady rate that is the same for all. nginx is measured with and without
 * `tcp_nopush`, which costs it most at 64 KB.
 */
import { type HttpServer, startHttpServers } from "./lab/http-servers.ts";
import { comparison, type Report, type Sample, type Table, type Times } from "./lab/figures.ts";
import { drive2, timeAtRate } from "./lab/h2load.ts";
import { type Protocol, protocols } from "./lab/http-peers/peer.ts";
import type { Lab } from "./lab/lab.ts";
import { filesHost } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";

/** The rate is one that all servers can hold over all protocols. */
const sizes = [
  { label: "1 KB", bytes: 1024, steadyPerSecond: 1600 },
  { label: "16 KB", bytes: 16_384, steadyPerSecond: 1600 },
  { label: "64 KB", bytes: 65_536, steadyPerSecond: 800 },
  { label: "256 KB", bytes: 262_144, steadyPerSecond: 320 },
] as const;
const steadySeconds = 4;
/** For HTTP/2: fewer connections, with several requests at a time on each. */
const [connections, connections2, streams] = [64, 32, 10];

export async function measureHttp(lab: Lab): Promise<Report> {
  const bodies = new Map(sizes.map(({ bytes }) => [String(bytes), Buffer.alloc(bytes, "0123456789abcdef")]));
  const origin = await startObjectOrigin(lab, (path) => {
    const body = bodies.get(path.slice(1));
    return body === undefined ? undefined : { type: "image/webp", body };
  });
  const { servers, absent, notes, stop } = await startHttpServers(lab, { origin, files: bodies });
  const tables: Table[] = [];
  const samples: Record<string, unknown> = {};
  for (const protocol of protocols) {
    for (const size of sizes) {
      const taking = servers.filter((server) => server.protocols.includes(protocol));
      const load = { path: `/${size.bytes}`, bytes: size.bytes, script: await hostScript(lab) };
      const taken = await takeTurns(
        lab,
        taking.map((server) => ({
          name: server.name,
          measure: (seconds) => saturate(lab, server, protocol, { ...load, seconds }),
        })),
      );
      const times = new Map<string, Times>();
      for (const server of taking) times.set(server.name, await atRate(lab, server, protocol, load.path, size));
      const title = `Hit in memory of ${size.label}, ${protocol}`;
      tables.push(comparison(`${title}; times at ${size.steadyPerSecond} requests/s`, taken, "nginx", times));
      samples[title] = { ...Object.fromEntries(taken), times: Object.fromEntries(times) };
    }
  }
  await stop();
  return {
    question: "http",
    tables,
    notes: [
      `HTTP/1.1 and TLS: ${connections} connections, wrk with one thread. HTTP/2 over TLS: h2load, ${connections2} ` +
        `connections with ${streams} requests at a time`,
      `steady rates: h2load for all protocols, over as many connections, for ${steadySeconds} s`,
      ...notes,
    ],
    absent,
    samples,
  };
}

function hostScript(lab: Lab): Promise<string> {
  return storeScript(lab, "host", `wrk.headers["Host"] = "${filesHost}"\n`);
}

function saturate(
  lab: Lab,
  { program, clearUrl, secureUrl }: HttpServer,
  protocol: Protocol,
  { path, bytes, script, seconds }: { path: string; bytes: number; script: string; seconds: number },
): Promise<Sample> {
  const url = (protocol === "HTTP/1.1" ? clearUrl : secureUrl) + path;
  if (protocol === "HTTP/2") {
    return drive2(lab, program, { url, host: filesHost, connections: connections2, streams, seconds });
  }
  return drive(lab, program, { url, connections, seconds, bodyBytes: bytes, script });
}

function atRate(
  lab: Lab,
  { program, clearUrl, secureUrl }: HttpServer,
  protocol: Protocol,
  path: string,
  { steadyPerSecond }: { steadyPerSecond: number },
): Promise<Times> {
  const isHttp2 = protocol === "HTTP/2";
  return timeAtRate(lab, program, {
    url: (protocol === "HTTP/1.1" ? clearUrl : secureUrl) + path,
    host: filesHost,
    connections: isHttp2 ? connections2 : connections,
    seconds: steadySeconds,
    perSecond: steadyPerSecond,
    isHttp2,
  });
}

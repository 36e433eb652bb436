/**
 * What does a hit cost over HTTP/1.1, over TLS 1.3 and over HTTP/2? Objects of 1, 16, 64 and 256 KB in memory, as many
 * requests as one core answers. nginx is measured with and without `tcp_nopush`, which costs it most at 64 KB.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { issueCertificate, makeAuthority } from "../deploy/cli/certificate-maker.ts";
import { comparison, type Report, type Sample, type Table } from "./lab/figures.ts";
import { drive2 } from "./lab/h2load.ts";
import { startNginx, versionOf } from "./lab/http-peers.ts";
import type { Lab, Program } from "./lab/lab.ts";
import { startNearcast } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { type Contender, takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";
import { fronts } from "./memory-hit.ts";

const filesHost = "files.bench.test";
const sizes = [
  { label: "1 KB", bytes: 1024 },
  { label: "16 KB", bytes: 16_384 },
  { label: "64 KB", bytes: 65_536 },
  { label: "256 KB", bytes: 262_144 },
] as const;
const connections = 64;
/** For HTTP/2: fewer connections, with several requests at a time on each. */
const [connections2, streams] = [32, 10];

const protocols = ["HTTP/1.1", "TLS 1.3", "HTTP/2"] as const;
type Protocol = (typeof protocols)[number];

interface Server {
  readonly name: string;
  readonly program: Program;
  readonly clearUrl: string;
  readonly secureUrl: string;
  readonly protocols: readonly Protocol[];
}

interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

const dayMs = 86_400_000;

async function makeCertificate(lab: Lab): Promise<CertificateFiles> {
  const validity = { validFromMs: Date.now() - dayMs, validToMs: Date.now() + dayMs };
  const authority = await makeAuthority({ commonName: "bench", ...validity });
  const pair = await issueCertificate({ commonName: filesHost, names: [filesHost], ...validity }, authority);
  const files = { certificateFile: join(lab.directory, "bench.crt"), keyFile: join(lab.directory, "bench.key") };
  await writeFile(files.certificateFile, pair.certificatePem + authority.certificatePem);
  await writeFile(files.keyFile, pair.keyPem, { mode: 0o600 });
  return files;
}

async function startEdges(lab: Lab, origin: { host: string; port: number }, files: CertificateFiles) {
  return await Promise.all(
    fronts.map(async ({ name, lanes }) => {
      const nearcast = await startNearcast(lab, {
        pin: "server",
        edge: (host) => ({ front: { lanes }, https: { addresses: [{ host, port: 8443 }], certificates: [files] } }),
        hosts: [{ name: filesHost, kind: "assets", origin: `http://${origin.host}:${origin.port}` }],
      });
      const server: Server = {
        name,
        program: nearcast.edge,
        clearUrl: nearcast.url,
        secureUrl: `https://${nearcast.address}:8443`,
        protocols: lanes === 0 ? protocols : ["HTTP/1.1"],
      };
      return { nearcast, server };
    }),
  );
}

export async function measureHttp(lab: Lab): Promise<Report> {
  const origin = await startObjectOrigin(lab, (path) => {
    const size = sizes.find(({ bytes }) => path === `/${bytes}`);
    return size === undefined ? undefined : { type: "image/webp", body: Buffer.alloc(size.bytes, "0123456789abcdef") };
  });
  const files = await makeCertificate(lab);
  const edges = await startEdges(lab, origin, files);
  const servers: Server[] = edges.map(({ server }) => server);
  const absent: string[] = [];
  for (const [name, tcpNopush] of [
    ["nginx", false],
    ["nginx, tcp_nopush", true],
  ] as const) {
    const start = await startNginx(lab, origin, { tcpNopush, certificate: files });
    if ("absent" in start) absent.push(start.absent);
    else {
      const { program, url } = start.started;
      servers.push({ name, program, clearUrl: url, secureUrl: `https://${new URL(url).hostname}:8443`, protocols });
    }
  }
  const tables: Table[] = [];
  const samples: Record<string, Record<string, Sample[]>> = {};
  for (const protocol of protocols) {
    for (const { label, bytes } of sizes) {
      const taking = servers.filter((server) => server.protocols.includes(protocol));
      const script = await storeScript(lab, `host-${bytes}`, `wrk.headers["Host"] = "${filesHost}"\n`);
      const taken = await takeTurns(
        lab,
        taking.map((server) => contender(lab, server, protocol, { path: `/${bytes}`, bytes, script })),
      );
      const title = `Hit in memory of ${label}, ${protocol}`;
      tables.push(comparison(title, taken, "nginx"));
      samples[title] = Object.fromEntries(taken);
    }
  }
  for (const { program } of servers) await program.stop();
  for (const { nearcast } of edges) await nearcast.stop();
  return {
    question: "http",
    tables,
    notes: [
      `HTTP/1.1 and TLS: ${connections} connections, wrk with one thread. HTTP/2 over TLS: h2load, ${connections2} ` +
        `connections with ${streams} requests at a time`,
      `nginx ${versionOf("nginx", ["-v"])}: its certificate is the same (P-256), TLS 1.3 only, open_file_cache`,
    ],
    absent,
    samples,
  };
}

function contender(
  lab: Lab,
  { name, program, clearUrl, secureUrl }: Server,
  protocol: Protocol,
  { path, bytes, script }: { path: string; bytes: number; script: string },
): Contender {
  const url = (protocol === "HTTP/1.1" ? clearUrl : secureUrl) + path;
  return {
    name,
    measure: (seconds) =>
      protocol === "HTTP/2"
        ? drive2(lab, program, { url, host: filesHost, connections: connections2, streams, seconds })
        : drive(lab, program, { url, connections, seconds, bodyBytes: bytes, script }),
  };
}

/** All HTTP servers that are compared: nearcast, with the main thread alone and with a lane, and the peers. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { issueCertificate, makeAuthority } from "../../deploy/cli/certificate-maker.ts";
import { startH2o } from "./http-peers/h2o.ts";
import { startHaproxy } from "./http-peers/haproxy.ts";
import { startNginx } from "./http-peers/nginx.ts";
import {
  type CertificateFiles,
  type PeerStart,
  type Protocol,
  protocols,
  securePort,
  secureUrlOf,
  versionOf,
} from "./http-peers/peer.ts";
import { startTrafficServer } from "./http-peers/traffic-server.ts";
import { startVarnish } from "./http-peers/varnish.ts";
import type { Lab, Program } from "./lab.ts";
import { filesHost, fronts, startNearcast } from "./nearcast.ts";

export interface HttpServer {
  readonly name: string;
  readonly program: Program;
  readonly clearUrl: string;
  readonly secureUrl: string;
  readonly protocols: readonly Protocol[];
}

export interface HttpServers {
  readonly servers: readonly HttpServer[];
  readonly absent: readonly string[];
  readonly notes: readonly string[];
  readonly stop: () => Promise<void>;
}

const dayMs = 86_400_000;

/**
 * @param options.files what a server without a cache serves; absent: it is left out
 * @param options.cache for nearcast's configuration
 */
export async function startHttpServers(
  lab: Lab,
  options: {
    origin: { host: string; port: number };
    files?: ReadonlyMap<string, Buffer>;
    cache?: object;
  },
): Promise<HttpServers> {
  const { origin, files, cache = {} } = options;
  const certificate = await makeCertificate(lab);
  const nearcasts = await Promise.all(
    fronts.map(async ({ name, lanes }) => {
      const edge = await startNearcast(lab, {
        pin: "server",
        edge: (host) => ({
          cache,
          front: { lanes },
          https: { addresses: [{ host, port: securePort }], certificates: [certificate] },
        }),
        hosts: [{ name: filesHost, kind: "assets", origin: `http://${origin.host}:${origin.port}` }],
      });
      return { name, edge };
    }),
  );
  const common = { origin, certificate };
  const starts: [PeerStart, readonly Protocol[]][] = [
    [await startNginx(lab, common), protocols],
    [await startNginx(lab, { ...common, tcpNopush: true }), protocols],
    [await startVarnish(lab, common), ["HTTP/1.1"]],
    [await startHaproxy(lab, common), protocols],
    [await startTrafficServer(lab, common), protocols],
  ];
  if (files !== undefined) starts.push([await startH2o(lab, { files, certificate }), protocols]);
  const peers = starts.flatMap(([start, speaks]) => {
    if ("absent" in start) return [];
    const { name, program, url } = start.started;
    return [{ name, program, clearUrl: url, secureUrl: secureUrlOf(url), protocols: speaks }];
  });
  return {
    servers: [
      ...nearcasts.map(({ name, edge: { edge, url } }) => {
        return { name, program: edge, clearUrl: url, secureUrl: secureUrlOf(url), protocols };
      }),
      ...peers,
    ],
    absent: starts.flatMap(([start]) => ("absent" in start ? [start.absent] : [])),
    notes: [
      `nginx ${versionOf("nginx", ["-v"])} with open_file_cache, varnish ${versionOf("varnishd", ["-V"])}, ` +
        `haproxy ${versionOf("haproxy", ["-v"])}, traffic server ${versionOf("traffic_server", ["-V"])}, ` +
        `h2o ${versionOf("h2o", ["--version"])} serving files. All have the same certificate (P-256)`,
    ],
    async stop() {
      for (const { program } of peers) await program.stop();
      for (const { edge } of nearcasts) await edge.stop();
    },
  };
}

async function makeCertificate(lab: Lab): Promise<CertificateFiles> {
  const validity = { validFromMs: Date.now() - dayMs, validToMs: Date.now() + dayMs };
  const authority = await makeAuthority({ commonName: "bench", ...validity });
  const pair = await issueCertificate({ commonName: filesHost, names: [filesHost], ...validity }, authority);
  const files = { certificateFile: join(lab.directory, "bench.crt"), keyFile: join(lab.directory, "bench.key") };
  await writeFile(files.certificateFile, pair.certificatePem + authority.certificatePem);
  await writeFile(files.keyFile, pair.keyPem, { mode: 0o600 });
  return files;
}

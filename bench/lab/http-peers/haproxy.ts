/** HAProxy with its cache in memory: one thread, no log. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Lab } from "../lab.ts";
import { type CertificateFiles, clearPort, type PeerOptions, type PeerStart, securePort, startPeer } from "./peer.ts";

export async function startHaproxy(lab: Lab, { origin, certificate, pin = "server" }: PeerOptions): Promise<PeerStart> {
  return await startPeer(lab, "haproxy", "haproxy", pin, async ({ host, directory }) => {
    const config = `
global
  nbthread 1
  maxconn 4096
cache bench
  total-max-size 1024
  max-object-size 1048576
  max-age 86400
defaults
  mode http
  timeout connect 5s
  timeout client 65s
  timeout server 65s
frontend edge
  bind ${host}:${clearPort}
  ${certificate === undefined ? "" : await secureLine(host, directory, certificate)}
  default_backend origin
backend origin
  http-request cache-use bench
  http-response cache-store bench
  server origin ${origin.host}:${origin.port}
`;
    await writeFile(join(directory, "haproxy.cfg"), config);
    return ["-db", "-f", join(directory, "haproxy.cfg")];
  });
}

/** It reads certificate and key from one file. */
async function secureLine(host: string, directory: string, files: CertificateFiles): Promise<string> {
  const path = join(directory, "both.pem");
  const texts = await Promise.all([files.certificateFile, files.keyFile].map((file) => readFile(file, "utf8")));
  await writeFile(path, texts.join(""), { mode: 0o600 });
  return `bind ${host}:${securePort} ssl crt ${path} alpn h2,http/1.1 ssl-min-ver TLSv1.3`;
}

/** nginx with `proxy_cache`, and with `open_file_cache`, so that a hit opens no file. One worker, no access log. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Lab } from "../lab.ts";
import { type CertificateFiles, clearPort, type PeerOptions, type PeerStart, securePort, startPeer } from "./peer.ts";

export async function startNginx(
  lab: Lab,
  { origin, certificate, pin = "server", tcpNopush = false }: PeerOptions & { tcpNopush?: boolean },
): Promise<PeerStart> {
  const name = tcpNopush ? "nginx, tcp_nopush" : "nginx";
  return await startPeer(lab, name, "nginx", pin, async ({ host, directory }) => {
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    const config = `
${process.getuid?.() === 0 ? "user root;" : ""}
worker_processes 1;
daemon off;
pid ${directory}/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nopush ${tcpNopush ? "on" : "off"};
  keepalive_timeout 65s;
  keepalive_requests 1000000000;
  ${temporary.map((word) => `${word}_temp_path ${directory}/${word};`).join("\n  ")}
  proxy_cache_path ${directory}/cache levels=1:2 keys_zone=bench:32m max_size=4g inactive=1d use_temp_path=off;
  open_file_cache max=20000 inactive=1d;
  open_file_cache_valid 1d;
  upstream origin {
    server ${origin.host}:${origin.port};
    keepalive 64;
    keepalive_requests 1000000000;
  }
  server {
    listen ${host}:${clearPort} backlog=4096;
    ${certificate === undefined ? "" : secureLines(host, certificate)}
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache bench;
      add_header X-Cache $upstream_cache_status;
    }
  }
}
`;
    await writeFile(join(directory, "nginx.conf"), config);
    return ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", "stderr"];
  });
}

function secureLines(host: string, { certificateFile, keyFile }: CertificateFiles): string {
  return `listen ${host}:${securePort} ssl http2 backlog=4096;
    ssl_certificate ${certificateFile};
    ssl_certificate_key ${keyFile};
    ssl_protocols TLSv1.3;`;
}

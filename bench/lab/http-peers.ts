/** Other caches in front of a loopback origin: nginx and Varnish, each with one worker and no access log. */
import { spawnSync } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { findProgram, type Lab, type Pin, type Program } from "./lab.ts";

export interface HttpPeer {
  name: string;
  program: Program;
  url: string;
}

/** The outcome of starting a peer: it runs, or the reason why it does not. */
export type PeerStart = { started: HttpPeer } | { absent: string };

const missing = (name: string): PeerStart => ({ absent: `${name}: not installed, see bench/peers.md` });

async function started(lab: Lab, name: string, start: (url: string) => Promise<Program>): Promise<PeerStart> {
  const url = `http://${lab.address()}:8080`;
  try {
    return { started: { name, program: await start(url), url } };
  } catch (error) {
    return { absent: `${name}: could not be started: ${(error as Error).message}` };
  }
}

const answers = (url: string) => async (): Promise<boolean> => (await fetch(`${url}/`)).status > 0;

interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** A listener for TLS 1.3 and HTTP/2 on port 8443. */
function secureLines(host: string, { certificateFile, keyFile }: CertificateFiles): string {
  return `listen ${host}:8443 ssl http2 backlog=4096;
    ssl_certificate ${certificateFile};
    ssl_certificate_key ${keyFile};
    ssl_protocols TLSv1.3;`;
}

/** nginx with `proxy_cache`, and with `open_file_cache`, so that a hit opens no file. */
export async function startNginx(
  lab: Lab,
  origin: { host: string; port: number },
  {
    tcpNopush = true,
    certificate,
    pin = "server",
  }: { tcpNopush?: boolean; certificate?: CertificateFiles; pin?: Pin } = {},
): Promise<PeerStart> {
  const command = findProgram("nginx");
  if (command === undefined) return missing("nginx");
  return await started(lab, "nginx", async (url) => {
    const directory = join(lab.directory, `nginx-${new URL(url).hostname}`);
    await mkdir(directory);
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
  ${temporary.map((name) => `${name}_temp_path ${directory}/${name};`).join("\n  ")}
  proxy_cache_path ${directory}/cache levels=1:2 keys_zone=bench:32m max_size=4g inactive=1d use_temp_path=off;
  open_file_cache max=20000 inactive=1d;
  open_file_cache_valid 1d;
  server {
    listen ${new URL(url).host} backlog=4096;
    ${certificate === undefined ? "" : secureLines(new URL(url).hostname, certificate)}
    location / {
      proxy_pass http://${origin.host}:${origin.port};
      proxy_cache bench;
      add_header X-Cache $upstream_cache_status;
    }
  }
}
`;
    await writeFile(join(directory, "nginx.conf"), config);
    const args = ["-p", directory, "-c", join(directory, "nginx.conf"), "-e", "stderr"];
    return await lab.start({ name: "nginx", command, args, pin }, answers(url));
  });
}

/** Varnish with objects in memory and its log in shared memory, its defaults. */
export async function startVarnish(lab: Lab, origin: { host: string; port: number }): Promise<PeerStart> {
  const command = findProgram("varnishd");
  if (command === undefined) return missing("varnish");
  return await started(lab, "varnish", async (url) => {
    const { hostname, host } = new URL(url);
    const directory = join(lab.directory, `varnish-${hostname}`);
    await mkdir(directory);
    const vcl = `vcl 4.1;\nbackend default { .host = "${origin.host}"; .port = "${origin.port}"; }\n`;
    await writeFile(join(directory, "bench.vcl"), vcl);
    const options = ["-F", "-j", "none", "-T", "none", "-p", "thread_pools=1", "-s", "malloc,256m"];
    const args = [...options, "-n", directory, "-a", host, "-f", join(directory, "bench.vcl")];
    return await lab.start({ name: "varnish", command, args, pin: "server" }, answers(url));
  });
}

/** The version that a program reports, whatever else it prints and whatever its exit status. */
export function versionOf(name: string, args: readonly string[]): string {
  const command = findProgram(name);
  if (command === undefined) return "";
  const { stdout, stderr } = spawnSync(command, args, { timeout: 5000, encoding: "utf8" });
  return /\d+\.\d+[.\w]*/.exec(stdout + stderr)?.[0] ?? "";
}

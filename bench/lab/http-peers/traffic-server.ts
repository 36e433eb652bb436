/** Apache Traffic Server with its cache in memory and a file: one network thread, no log. */
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Lab } from "../lab.ts";
import { clearPort, type PeerOptions, type PeerStart, securePort, startPeer } from "./peer.ts";

export async function startTrafficServer(
  lab: Lab,
  { origin, certificate, pin = "server" }: PeerOptions,
): Promise<PeerStart> {
  return await startPeer(lab, "traffic server", "traffic_server", pin, async ({ host, directory }) => {
    const [etc, run, cache] = ["etc", "run", "cache"].map((name) => join(directory, name)) as [string, string, string];
    for (const folder of [etc, run, cache]) await mkdir(folder);
    const ports = [
      `${clearPort}:ip-in=${host}`,
      ...(certificate === undefined ? [] : [`${securePort}:ssl:ip-in=${host}`]),
    ];
    const records: [string, "INT" | "STRING", string | number][] = [
      ["http.server_ports", "STRING", ports.join(" ")],
      ["url_remap.pristine_host_hdr", "INT", 1],
      ["exec_thread.autoconfig", "INT", 0],
      ["exec_thread.limit", "INT", 1],
      ["accept_threads", "INT", 0],
      ["cache.threads_per_disk", "INT", 1],
      ["cache.ram_cache.size", "INT", 1024 ** 3],
      ["log.logging_enabled", "INT", 0],
      ["http.insert_response_via_str", "INT", 0],
      ["http.keep_alive_no_activity_timeout_in", "INT", 65],
      ["ssl.TLSv1_2", "INT", 0],
      ["admin.user_id", "STRING", "#-1"], // it stays whoever starts it
      ["crash_log_helper", "STRING", "NULL"],
    ];
    if (certificate !== undefined) {
      records.push(["ssl.server.cert.path", "STRING", dirname(certificate.certificateFile)]);
      records.push(["ssl.server.private_key.path", "STRING", dirname(certificate.keyFile)]);
      const names = [certificate.certificateFile, certificate.keyFile].map((path) => basename(path));
      await writeFile(
        join(etc, "ssl_multicert.config"),
        `dest_ip=* ssl_cert_name=${names[0]} ssl_key_name=${names[1]}\n`,
      );
    }
    const lines = records.map(([name, type, value]) => `CONFIG proxy.config.${name} ${type} ${value}\n`);
    await writeFile(join(etc, "records.config"), lines.join(""));
    await writeFile(join(etc, "remap.config"), `map / http://${origin.host}:${origin.port}\n`);
    await writeFile(join(etc, "storage.config"), `${cache} 2G\n`);
    const everybody = "ip_allow:\n  - apply: in\n    ip_addrs: 0/0\n    action: allow\n    methods: ALL\n";
    await writeFile(join(etc, "ip_allow.yaml"), everybody);
    const folders = {
      prefix: directory,
      exec_prefix: directory,
      bindir: "/usr/bin",
      sbindir: "/usr/bin",
      sysconfdir: etc,
      datadir: cache,
      includedir: run,
      libdir: "/usr/lib/trafficserver",
      libexecdir: "/usr/lib/trafficserver/modules",
      localstatedir: run,
      runtimedir: run,
      logdir: run,
      cachedir: cache,
    };
    const root = Object.entries(folders).map(([name, path]) => `${name}: ${path}\n`);
    await writeFile(join(directory, "runroot.yaml"), root.join(""));
    return [`--run-root=${join(directory, "runroot.yaml")}`];
  });
}

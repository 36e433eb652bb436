/** Varnish with objects in memory and its log in shared memory, its defaults. It has no TLS. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Lab } from "../lab.ts";
import { clearPort, type PeerOptions, type PeerStart, startPeer } from "./peer.ts";

export async function startVarnish(lab: Lab, { origin, pin = "server" }: PeerOptions): Promise<PeerStart> {
  return await startPeer(lab, "varnish", "varnishd", pin, async ({ host, directory }) => {
    const vcl = `vcl 4.1;\nbackend default { .host = "${origin.host}"; .port = "${origin.port}"; }\n`;
    await writeFile(join(directory, "bench.vcl"), vcl);
    const options = ["-F", "-j", "none", "-T", "none", "-p", "thread_pools=1", "-s", "malloc,1g"];
    return [...options, "-n", directory, "-a", `${host}:${clearPort}`, "-f", join(directory, "bench.vcl")];
  });
}

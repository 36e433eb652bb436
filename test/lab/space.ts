/**
 * A space of the lab's own: network, mounts and processes that nobody outside sees, and that vanish whole.
 *
 *   npm run lab ──spawns──▶ unshare ──▶ the lab, process 1 of the space ──▶ BIRD, edges, unbound …
 *        └────────── pipe ──────────────────────┘ ends when npm's process does, however that ends
 *
 * Process 1 ends when the pipe does; the kernel then kills all other processes of the space, and with the last of them
 * go the namespaces, the interfaces in them and the mounts. So nothing needs to be cleaned up, not even after kill -9.
 */
import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { firstResolver } from "./plan.ts";
import { run } from "./processes.ts";

/** Everything that the lab writes: on a memory file system of the space. */
export const labDirectory = "/run/lab";
const resolverFile = "/etc/resolv.conf";
const tryTimeoutMs = 10_000;

const flags = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
const userFlags = ["--user", "--map-root-user"];

export type Space = { readonly ok: true; readonly unshare: readonly string[] } | { readonly ok: false; reason: string };

/** How a space can be had here: as root, else in a user namespace; or why not. */
export function findSpace(): Space {
  if (process.platform !== "linux")
    return { ok: false, reason: `network namespaces are Linux's, not ${process.platform}'s` };
  const reasons: string[] = [];
  for (const more of process.getuid?.() === 0 ? [[], userFlags] : [userFlags]) {
    const tried = tryUnshare([...more, ...flags]);
    if (tried === null) return { ok: true, unshare: [...more, ...flags] };
    reasons.push(`${more.length === 0 ? "as root" : "in a user namespace"}: ${tried}`);
  }
  return { ok: false, reason: `no namespaces of its own are allowed here (${reasons.join("; ")})` };
}

/** null: it works. */
function tryUnshare(args: readonly string[]): string | null {
  // A space without the right to mount or to make interfaces is of no use.
  const test = "mount -t tmpfs tmpfs /run && ip link add try0 type veth peer name try1";
  const tried: SpawnSyncReturns<string> = spawnSync("unshare", [...args, "sh", "-c", test], {
    timeout: tryTimeoutMs,
    encoding: "utf8",
  });
  if (tried.error !== undefined) return tried.error.message;
  return tried.status === 0 ? null : tried.stderr.trim().split("\n").at(-1) || `status ${tried.status}`;
}

/** The programs among `programs` that are not installed. */
export function missingPrograms(programs: readonly string[]): string[] {
  return programs.filter((program) => spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0);
}

/**
 * Inside: a /run of its own, and a resolver file that sends everybody's look-ups to port 53 of his own 127.0.0.1, so
 * that curl at a client asks the unbound that stands beside it.
 */
export async function furnish(): Promise<void> {
  const resolver = realpathSync(resolverFile);
  await run("mount", ["-t", "tmpfs", "tmpfs", "/run"]);
  for (const directory of ["/run/netns", labDirectory, `${labDirectory}/log`]) mkdirSync(directory);
  const own = `${labDirectory}/resolv.conf`;
  writeFileSync(own, `nameserver ${firstResolver}\noptions timeout:3 attempts:1\n`);
  if (resolver.startsWith("/run/")) {
    mkdirSync(resolver.replace(/\/[^/]*$/, ""), { recursive: true });
    writeFileSync(resolver, "");
  }
  await run("mount", ["--bind", own, resolver]);
  await run("ip", ["link", "set", "lo", "up"]);
}

/** The threads and descriptors of this process, as Node and Linux tell them: for tests of lanes, which run in it. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import type { TestContext } from "node:test";
import type { Worker } from "node:worker_threads";

/** The lanes' threads that are ready, in the order in which they became so, from now on. */
export function readyLanes(t: TestContext): Worker[] {
  const ready: Worker[] = [];
  const started = (worker: Worker): void => {
    worker.once("message", () => ready.push(worker));
  };
  process.on("worker", started);
  t.after(() => process.off("worker", started));
  return ready;
}

/** How many are open. */
export function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** Those of sockets on a local TCP port over IPv4: the listening ones, or the accepted ones. */
export function socketsOn(port: number, state: "listening" | "accepted"): number[] {
  const wanted = state === "listening" ? "0A" : "01";
  const inodes = new Set<string>();
  for (const line of readFileSync("/proc/self/net/tcp", "utf8").split("\n").slice(1)) {
    const [, local = "", , status = "", , , , , , inode = ""] = line.trim().split(/\s+/);
    if (Number.parseInt(local.split(":")[1] ?? "", 16) === port && status === wanted) inodes.add(`socket:[${inode}]`);
  }
  return descriptorsThat((link) => inodes.has(link));
}

/** The epoll descriptor that watches this one. */
export function epollOf(descriptor: number): number | undefined {
  const all = descriptorsThat((link) => link === "anon_inode:[eventpoll]");
  return all.find((epoll) => {
    const targets = readFileSync(`/proc/self/fdinfo/${epoll}`, "utf8").matchAll(/^tfd:\s+(\d+)/gm);
    return [...targets].some(([, target]) => Number(target) === descriptor);
  });
}

function descriptorsThat(isWanted: (link: string) => boolean): number[] {
  return readdirSync("/proc/self/fd")
    .map(Number)
    .filter((descriptor) => {
      try {
        return isWanted(readlinkSync(`/proc/self/fd/${descriptor}`));
      } catch {
        return false; // closed meanwhile
      }
    });
}

/**
 * The network of the runbook: a namespace that is the internet, with one cable to each machine.
 *
 *   origin 10.0.0.5 ──┐
 *   fra1 10.0.1.1, 192.0.2.10 ──┤ the internet: a bridge that routes between the networks ── whoever asks for pictures
 *   nyc1 10.0.2.1, 198.51.100.10 ──┘
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The router's own address in each network; clients come from the last. */
const routerAddresses = ["10.0.0.1/16", "192.0.2.1/24", "198.51.100.1/24", "203.0.113.1/24"];
const commandTimeoutMs = 10_000;

export interface Network {
  /** A process of the namespace: `nsenter --net --target PID` is a client on the internet. */
  readonly pid: number;
  /** A cable from here to the network namespace of process `pid`, with these addresses (`192.0.2.10/24`). */
  readonly plugIn: (name: string, addresses: readonly string[], pid: number) => Promise<void>;
  readonly close: () => Promise<void>;
}

export async function openNetwork(): Promise<Network> {
  // Ends with the test, and the namespace with it.
  const holder = spawn("setpriv", ["--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo ready; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(holder.stdout, "data");
  const pid = holder.pid ?? 0;
  await batch(pid, [
    "link set lo up",
    "link add internet type bridge",
    "link set internet up",
    ...routerAddresses.map((address) => `addr add ${address} dev internet`),
  ]);
  await inNetwork(pid, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  return {
    pid,
    async plugIn(name, addresses, machinePid) {
      await batch(pid, [
        `link add ${name} type veth peer name eth0 address ${hardwareAddress(addresses)} netns ${machinePid}`,
        `link set ${name} master internet up`,
      ]);
      const gateway = gatewayOf(addresses.at(-1) ?? "");
      await batch(machinePid, [
        "link set eth0 up",
        ...addresses.map((address) => `addr add ${address} dev eth0`),
        `route add default via ${gateway}`,
      ]);
    },
    async close() {
      const ended = once(holder, "close");
      holder.kill("SIGKILL");
      await ended;
    },
  };
}

/**
 * The same for whichever machine has these addresses: others remember it for up to 45 s, and a machine in the place of
 * a lost one would hear nothing meanwhile.
 */
function hardwareAddress([first = ""]: readonly string[]): string {
  const bytes = (first.split("/")[0] ?? "").split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return ["02", "00", ...bytes].join(":");
}

function gatewayOf(address: string): string {
  const [host = "", length] = address.split("/");
  const bytes = host.split(".");
  return length === "16" ? `${bytes.slice(0, 2).join(".")}.0.1` : `${bytes.slice(0, 3).join(".")}.1`;
}

async function inNetwork(pid: number, command: readonly string[], input = ""): Promise<void> {
  const child = run("nsenter", ["--target", String(pid), "--net", "--", ...command], { timeout: commandTimeoutMs });
  // A command that reads nothing may have ended before this; how it ended is what counts.
  child.child.stdin?.on("error", () => undefined).end(input);
  await child;
}

async function batch(pid: number, lines: readonly string[]): Promise<void> {
  await inNetwork(pid, ["ip", "-batch", "-"], `${lines.join("\n")}\n`);
}

/** What a joining machine finds out about itself: its address as others see it, and what its hardware allows. */
import { mkdir, statfs } from "node:fs/promises";
import { BlockList, connect, isIPv4 } from "node:net";
import { availableParallelism, totalmem } from "node:os";
import { CommandFailure, exitCodes } from "../../exit-codes.ts";
import { systemReason } from "#base/system-reason.ts";

const connectMs = 3000;
const mebibyte = 1024 * 1024;

const privateNetworks = new BlockList();
for (const [network, length] of [
  ["10.0.0.0", 8], // RFC 1918
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10], // RFC 6598
] as const) {
  privateNetworks.addSubnet(network, length);
}
privateNetworks.addSubnet("fc00::", 7, "ipv6"); // RFC 4193

/** Not reachable from the internet. */
export function isPrivate(address: string): boolean {
  return privateNetworks.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}

/** The address from which this machine reaches the origin: the local address of a connected socket. */
export async function addressTowards(origin: URL): Promise<string> {
  const port = origin.port === "" ? (origin.protocol === "https:" ? 443 : 80) : Number(origin.port);
  const socket = connect({ host: origin.hostname.replace(/^\[|\]$/g, ""), port });
  try {
    return await new Promise((resolve, reject) => {
      socket.once("connect", () => {
        const { localAddress = "" } = socket;
        // An IPv4 connection of an IPv6 socket (RFC 4291 §2.5.5.2).
        resolve(localAddress.replace(/^::ffff:(?=[\d.]+$)/, ""));
      });
      socket.once("error", reject);
      socket.setTimeout(connectMs, () => {
        reject(new Error(`no connection within ${connectMs / 1000} s`));
      });
    });
  } catch (error) {
    throw new CommandFailure(
      exitCodes.unreachable,
      `the origin at ${origin.href} can't be reached: ${systemReason(error)}`,
      {
        code: "UNREACHABLE",
        cause: error,
        lines: ["Give the address of this machine (--address IP), or fix the connection to the origin first."],
      },
    );
  } finally {
    socket.destroy();
  }
}

export interface Room {
  memoryBytes: number;
  diskBytes: number;
  decoders: number;
}

/** A quarter of the memory, half of the free disk space, one decoder per core. */
export async function roomFor(directory: string): Promise<Room> {
  await mkdir(directory, { recursive: true });
  const { bavail, bsize } = await statfs(directory);
  // In a container its limit counts; without a limit, this is 0 or enormous.
  const limit = process.constrainedMemory();
  const memoryBytes = limit > 0 ? Math.min(limit, totalmem()) : totalmem();
  const whole = (bytes: number): number => Math.max(1, Math.floor(bytes / mebibyte)) * mebibyte;
  return {
    memoryBytes: whole(memoryBytes / 4),
    diskBytes: whole((bavail * bsize) / 2),
    decoders: Math.min(availableParallelism(), 256),
  };
}

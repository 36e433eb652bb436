/** Socket addresses of the system calls: an IP address and a port as the kernel reads them (system-calls.ts). */
import { isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import { readIpv4, readIpv6, isMappedIpv4 } from "./ip-octets.ts";
import { socketAddress } from "./system-calls.ts";

const AF_INET = 2;
const AF_INET6 = 10;

/**
 * Writes a socket address at the start of `bytes`.
 * @param host an IPv4 or IPv6 address, the latter with a zone if it is link-local
 * @returns its length
 * @throws Error if `host` is no address, or its zone no interface
 */
export function writeSocketAddress(bytes: Uint8Array, { host, port }: { host: string; port: number }): number {
  bytes.fill(0, 0, socketAddress.roomBytes);
  bytes[socketAddress.port] = port >>> 8;
  bytes[socketAddress.port + 1] = port & 0xff;
  if (!isIPv6(host)) {
    if (!readIpv4(host, bytes, socketAddress.address4)) throw new Error(`${host} is not an IP address`);
    bytes[socketAddress.family] = AF_INET;
    return socketAddress.length4;
  }
  const [bare = "", zone] = host.split("%");
  readIpv6(bare, bytes, socketAddress.address6);
  if (isMappedIpv4(bytes, socketAddress.address6)) throw new Error(`${host}: write the IPv4 address itself`);
  bytes[socketAddress.family] = AF_INET6;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(socketAddress.scope6, scopeOf(zone), true);
  return socketAddress.length6;
}

/** Index of the interface of a link-local address; 0 for all other addresses. */
function scopeOf(zone: string | undefined): number {
  if (zone === undefined) return 0;
  if (/^\d{1,9}$/.test(zone)) return Number(zone);
  const found = networkInterfaces()[zone]?.find((one) => one.family === "IPv6");
  if (found?.family !== "IPv6" || found.scopeid === 0)
    throw new Error(`no interface ${zone} with a link-local address`);
  return found.scopeid;
}

/** The port of the socket address at `at`. */
export function portAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at + socketAddress.port] ?? 0) << 8) | (bytes[at + socketAddress.port + 1] ?? 0);
}

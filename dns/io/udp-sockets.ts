/**
 * UDP sockets of the batch path. The main thread opens and binds them, so it learns at once whether an address is free;
 * the batch threads read them, one socket per thread and address. The kernel spreads clients over the sockets of an
 * address by a hash of both endpoints.
 *
 *   first socket of an address   bind() alone: fails if any other process has the port, even another nearcast
 *                                then SO_REUSEPORT, if others will follow
 *   those of the other threads   SO_REUSEPORT, then bind(): joins the first
 *
 * With one thread there is no SO_REUSEPORT, so nobody can take a share of the port unnoticed. Several processes that
 * share their ports all join. Then any process of the same user may join, and no other.
 */
import { isIPv6 } from "node:net";
import { portAt, writeSocketAddress } from "#base/socket-address.ts";
import { errnoName, socketAddress, type ArenaView, type DatagramCalls, type SocketOption } from "#base/system-calls.ts";
import type { Family, IpAddress } from "../wire/address.ts";
import { receiveBufferBytes, type ListenAddress } from "./transport.ts";

export interface UdpSocket {
  readonly descriptor: number;
  readonly family: Family;
  /** With the port that was actually bound. */
  readonly address: ListenAddress;
}

/**
 * Alone: nobody else may have the port. First: nobody may have it yet, other sockets of ours will follow. Follower:
 * joins the existing sockets.
 */
export type PortSharing = "alone" | "first" | "follower";

/** Room for the answers of several batches. */
const sendBufferBytes = 1024 * 1024;
/**
 * IP_PMTUDISC_PROBE and IPV6_PMTUDISC_PROBE: answers are never fragmented (RFC 9715), and a forged "fragmentation
 * needed" does not shrink our path. Answers fit every path that IPv6 may take, so they fit IPv4 paths, too.
 */
const pathMtuProbe = 3;

/** Arena memory that openUdpSocket needs. */
export const controlSizeBytes = 4096;
const valueAt = 64;

/**
 * @param control memory for the arguments of the calls, at least controlSizeBytes; unused after the return
 * @throws Error with the failed call and a `code`, such as `bind EADDRINUSE` and `EADDRINUSE`
 */
export function openUdpSocket(
  calls: DatagramCalls,
  control: ArenaView,
  listen: ListenAddress,
  sharing: PortSharing,
): UdpSocket {
  const family = isIPv6(listen.host) ? 6 : 4;
  const bytes = new Uint8Array(control.bytes);
  const words = new Int32Array(control.bytes);
  const fail = (what: string): never => {
    const code = errnoName(calls.errno());
    throw Object.assign(new Error(`${what} ${code}`), { code });
  };
  const descriptor = calls.openUdp(family);
  if (descriptor < 0) return fail("socket");
  const set = (option: SocketOption, value: number): boolean => {
    words[valueAt / 4] = value;
    return calls.setOption(descriptor, option, control.address + valueAt) === 0;
  };
  try {
    if (family === 6 && !set("only6", 1)) fail("IPV6_V6ONLY");
    if (sharing === "follower" && !set("reusePort", 1)) fail("SO_REUSEPORT");
    // The following options improve the service. A failure is no reason to stop. An anycast address may appear on this
    // machine after we start.
    set(family === 4 ? "freeBind4" : "freeBind6", 1);
    set(family === 4 ? "pathMtu4" : "pathMtu6", pathMtuProbe);
    // With privileges, the buffer may exceed the system's limit.
    if (!set("receiveBufferForce", receiveBufferBytes)) set("receiveBuffer", receiveBufferBytes);
    set("sendBuffer", sendBufferBytes);

    const lengthBytes = writeSocketAddress(bytes, listen);
    if (calls.bind(descriptor, control.address, lengthBytes) !== 0) fail("bind");
    if (sharing === "first" && !set("reusePort", 1)) fail("SO_REUSEPORT");

    words[valueAt / 4] = socketAddress.roomBytes;
    if (calls.getName(descriptor, control.address, control.address + valueAt) !== 0) fail("getsockname");
    return { descriptor, family, address: { host: listen.host, port: portAt(bytes, 0) } };
  } catch (error) {
    calls.close(descriptor);
    throw error;
  }
}

/**
 * Reads the sender: the IPv4 or IPv6 address of the socket address at `at`. An IPv4-mapped IPv6 address
 * (::ffff:192.0.2.1) is read as its IPv4 address. Called for each query, so it allocates nothing.
 */
export function readSocketAddress(bytes: Uint8Array, at: number, family: Family, into: IpAddress): void {
  const to = into.bytes;
  if (family === 4) {
    into.family = 4;
    const from = at + socketAddress.address4;
    for (let i = 0; i < 4; i++) to[i] = bytes[from + i] ?? 0;
    for (let i = 4; i < 16; i++) to[i] = 0;
    return;
  }
  const from = at + socketAddress.address6;
  let isMapped = bytes[from + 10] === 0xff && bytes[from + 11] === 0xff;
  for (let i = 0; i < 10; i++) if (bytes[from + i] !== 0) isMapped = false;
  if (isMapped) {
    into.family = 4;
    for (let i = 0; i < 4; i++) to[i] = bytes[from + 12 + i] ?? 0;
    for (let i = 4; i < 16; i++) to[i] = 0;
    return;
  }
  into.family = 6;
  for (let i = 0; i < 16; i++) to[i] = bytes[from + i] ?? 0;
}

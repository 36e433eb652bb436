/**
 * Listening sockets for the lanes: one for each lane and address. The main thread opens and keeps them, so it learns at
 * once whether an address is free, and a lane that dies takes none with it: clients wait in the socket for the next
 * lane.
 *
 *   first socket of an address   bind() alone: fails if any other process has the port
 *                                then SO_REUSEPORT, if others will follow
 *   those of the other lanes     SO_REUSEPORT, then bind(): the kernel spreads clients over all
 *
 * Accepted connections inherit the options of their socket.
 */
import { isIPv6 } from "node:net";
import { portAt, writeSocketAddress } from "#base/socket-address.ts";
import { type ArenaView, errnoName, socketAddress, type SocketOption, type StreamCalls } from "#base/system-calls.ts";

/** "alone": nobody else may have the port; "first": other sockets of this process follow; "follower": joins. */
export type Sharing = "alone" | "first" | "follower";

const valueAt = 64;
const backlog = 4096;
/** As Node sets it together with the idle time. */
const [keepAliveIntervalSeconds, keepAliveCount] = [1, 10];

export interface ListenAddress {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
}

/**
 * @param control overwritten up to `reservedAt` (lane-control.ts)
 * @param keepAliveSeconds after this long without a packet, TCP checks whether the client is still there
 * @returns the descriptor, and the address with the port that was bound
 * @throws the system's error, as Node's server reports it
 */
export function openListeningSocket(
  calls: StreamCalls,
  control: ArenaView,
  { host, port }: ListenAddress,
  { sharing, keepAliveSeconds }: { sharing: Sharing; keepAliveSeconds: number },
): { descriptor: number; port: number } {
  const bytes = new Uint8Array(control.bytes);
  const words = new Int32Array(control.bytes);
  const isV6 = isIPv6(host);
  const fail = (): never => {
    const code = errnoName(calls.errno());
    throw Object.assign(new Error(`listen ${code}: ${host}:${port}`), { code, syscall: "listen", address: host, port });
  };
  const descriptor = calls.openTcp(isV6 ? 6 : 4);
  if (descriptor < 0) return fail();
  const set = (option: SocketOption, value: number): void => {
    words[valueAt / 4] = value;
    if (calls.setOption(descriptor, option, control.address + valueAt) !== 0) fail();
  };
  try {
    set("reuseAddress", 1); // connections of an earlier process may still be closing
    if (isV6) set("only6", 1);
    if (sharing === "follower") set("reusePort", 1);
    set("noDelay", 1);
    set("keepAlive", 1);
    set("keepAliveIdleSeconds", keepAliveSeconds);
    set("keepAliveIntervalSeconds", keepAliveIntervalSeconds);
    set("keepAliveCount", keepAliveCount);
    const lengthBytes = writeSocketAddress(bytes, { host, port });
    if (calls.bind(descriptor, control.address, lengthBytes) !== 0) fail();
    if (sharing === "first") set("reusePort", 1);
    if (calls.listen(descriptor, backlog) !== 0) fail();
    words[valueAt / 4] = socketAddress.roomBytes;
    if (calls.getName(descriptor, control.address, control.address + valueAt) !== 0) fail();
    return { descriptor, port: portAt(bytes, 0) };
  } catch (error) {
    calls.close(descriptor);
    throw error;
  }
}

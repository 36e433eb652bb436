/**
 * One TCP connection to BIRD, from the lease's own address: unsigned through Node, or signed with a key (TCP MD5, RFC
 * 2385).
 *
 * Node has no API for socket options that must be set before connect(), so a signed connection is made with koffi and
 * then handed to Node as a descriptor. A connection that should be signed is never made without its key: if koffi is
 * missing, or the key can't be read, there is no connection, and the caller gets the reason.
 *
 * A kernel silently drops a segment with a wrong signature, and a signed SYN to a port where nobody listens gets no
 * RST. So a signed connection is abandoned after 500 ms: both ends are on this machine, where a handshake takes
 * microseconds, and BIRD may be back long before the kernel would repeat its SYN.
 */
import { connect, isIPv6, Socket } from "node:net";
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import { codeReason } from "#base/system-reason.ts";
import type { Cancel, Clock } from "#base/clock.ts";
import { koffiMissing, loadKoffi } from "#base/koffi.ts";
import { parseAddress } from "./bgp/prefix.ts";

export interface DialPlace {
  readonly peer: { readonly host: string; readonly port: number };
  /** The source address of the connection. */
  readonly source: string;
}

/** Called once, asynchronously, unless the dial was cancelled: a connected socket, or the reason why there is none. */
export type Dialed = (outcome: Socket | Error) => void;

/** Starts one connection. @returns a function that cancels it and closes its socket */
export type Dial = (dialed: Dialed) => Cancel;

/** The deadline of a signed connection, and the intervals at which its state is polled. */
const keyedMs = { most: 500, firstLook: 1, looksMost: 20 } as const;

/** Connections without a key. */
export function openDialer({ peer, source }: DialPlace): Dial {
  return (dialed) => {
    const socket = connect({ host: peer.host, port: peer.port, localAddress: source, noDelay: true });
    const failed = (error: Error): void => {
      dialed(error);
    };
    socket.once("error", failed);
    socket.once("connect", () => {
      socket.off("error", failed);
      dialed(socket);
    });
    return () => {
      socket.off("error", failed).on("error", () => undefined);
      socket.destroy();
    };
  };
}

/**
 * Connections on which both sides sign every segment.
 * @param readKey called before each connection; returns the key, or throws an error for people
 */
export function openKeyedDialer(place: DialPlace, readKey: () => string, clock: Clock): Dial {
  let calls: SocketCalls | undefined;
  return (dialed) => {
    let isOver = false;
    let connection: PendingConnection | undefined;
    const startedMs = clock.monotonicMs();

    function settle(outcome: Socket | Error): void {
      isOver = true;
      if (outcome instanceof Error) connection?.close();
      dialed(outcome);
    }

    function look(pending: PendingConnection, afterMs: number): Cancel {
      return clock.after(afterMs, () => {
        if (isOver) return;
        const state = pending.look();
        if (state === "connected") settle(adopt(pending.descriptor));
        else if (state !== "pending") settle(new Error(codeReason(state)));
        else if (clock.monotonicMs() - startedMs >= keyedMs.most) settle(new Error(unanswered));
        else look(pending, Math.min(2 * afterMs, keyedMs.looksMost));
      });
    }

    // Deferred: before this function returns, the caller has nothing to cancel with.
    clock.after(0, () => {
      if (isOver) return;
      try {
        calls ??= openSocketCalls();
        connection = openKeyed(calls, place, readKey());
        look(connection, keyedMs.firstLook);
      } catch (error) {
        settle(error as Error);
      }
    });
    return () => {
      if (isOver) return;
      isOver = true;
      connection?.close();
    };
  };
}

const unanswered = "no answer: BIRD is not running, or it does not have the key in `announce.keyFile`";

/** Wraps the descriptor in a Node socket, which closes it from now on. */
function adopt(descriptor: number): Socket {
  const socket = new Socket({ fd: descriptor, readable: true, writable: true });
  socket.setNoDelay(true);
  return socket;
}

interface PendingConnection {
  readonly descriptor: number;
  /** `connected`, `pending`, or the name of an errno. */
  look: () => string;
  close: () => void;
}

/** sys/socket.h, netinet/in.h and linux/tcp.h; the same on x86-64 and arm64. */
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2_000_000;
const IPPROTO_TCP = 6;
const TCP_MD5SIG = 14;
const EISCONN = 106;
const EALREADY = 114;
const EINPROGRESS = 115;
/** `struct tcp_md5sig`: sockaddr_storage of 128 octets, flags, prefix length, key length, interface, key. */
const md5 = { sizeBytes: 216, keyLengthAt: 130, keyAt: 136, keyBytesMax: 80 } as const;

interface SocketCalls {
  socket: (family: number, type: number, protocol: number) => number;
  setOption: (fd: number, level: number, name: number, value: Uint8Array, lengthBytes: number) => number;
  bind: (fd: number, address: Uint8Array, lengthBytes: number) => number;
  connect: (fd: number, address: Uint8Array, lengthBytes: number) => number;
  close: (fd: number) => number;
  /** The errno of the last call that returned -1. */
  errno: () => number;
}

/** @throws Error for people if the system calls are not available */
function openSocketCalls(): SocketCalls {
  if (process.platform !== "linux") throw new Error(`TCP MD5 needs Linux, not ${process.platform}`);
  const koffi = loadKoffi();
  if (koffi === undefined) throw new Error(`TCP MD5 is not possible: ${koffiMissing}`);
  const libc = koffi.load(null); // every process has its C library loaded, whatever its file name
  // Pointers are used only during their call, and koffi keeps their targets alive for that long.
  return {
    socket: libc.func("int socket(int, int, int)") as SocketCalls["socket"],
    setOption: libc.func("int setsockopt(int, int, int, const uint8_t *, uint)") as SocketCalls["setOption"],
    bind: libc.func("int bind(int, const uint8_t *, uint)") as SocketCalls["bind"],
    connect: libc.func("int connect(int, const uint8_t *, uint)") as SocketCalls["connect"],
    close: libc.func("int close(int)") as SocketCalls["close"],
    errno: () => koffi.errno(),
  };
}

/** @throws Error with the name of the call that failed */
function openKeyed(calls: SocketCalls, { peer, source }: DialPlace, key: string): PendingConnection {
  const to = socketAddress(peer.host, peer.port);
  const from = socketAddress(source, 0);
  const signature = md5Option(to, key);
  const family = isIPv6(peer.host) ? AF_INET6 : AF_INET;
  const descriptor = calls.socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const must = (call: string, result: number): void => {
    if (result !== -1) return;
    const name = getSystemErrorName(-calls.errno());
    if (descriptor !== -1) calls.close(descriptor);
    throw new Error(`${call}: ${codeReason(name)}`);
  };
  must("socket", descriptor);
  must("setsockopt TCP_MD5SIG", calls.setOption(descriptor, IPPROTO_TCP, TCP_MD5SIG, signature, signature.length));
  must(`bind to ${source}`, calls.bind(descriptor, from, from.length));
  const begun = calls.connect(descriptor, to, to.length);
  if (begun === -1 && calls.errno() !== EINPROGRESS) must("connect", begun);
  return {
    descriptor,
    /** Calling connect() again returns its progress. */
    look() {
      if (calls.connect(descriptor, to, to.length) === 0) return "connected";
      const errno = calls.errno();
      if (errno === EISCONN) return "connected";
      return errno === EINPROGRESS || errno === EALREADY ? "pending" : getSystemErrorName(-errno);
    },
    close: () => calls.close(descriptor),
  };
}

/** `struct sockaddr_in` or `sockaddr_in6`: the family in host byte order, the port in network byte order. */
function socketAddress(host: string, port: number): Buffer {
  const octets = parseAddress(host);
  if (octets === undefined) throw new Error(`${host} is not a plain IP address`);
  const isV6 = octets.length === 16;
  const address = Buffer.alloc(isV6 ? 28 : 16);
  if (endianness() === "LE") address.writeUInt16LE(isV6 ? AF_INET6 : AF_INET, 0);
  else address.writeUInt16BE(isV6 ? AF_INET6 : AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(octets, isV6 ? 8 : 4);
  return address;
}

function md5Option(peer: Buffer, key: string): Buffer {
  const keyOctets = Buffer.from(key, "utf8");
  if (keyOctets.length > md5.keyBytesMax) throw new Error(`the key is longer than ${md5.keyBytesMax} octets`);
  const option = Buffer.alloc(md5.sizeBytes);
  option.set(peer, 0);
  if (endianness() === "LE") option.writeUInt16LE(keyOctets.length, md5.keyLengthAt);
  else option.writeUInt16BE(keyOctets.length, md5.keyLengthAt);
  option.set(keyOctets, md5.keyAt);
  return option;
}

/**
 * The system calls that Node has no door for, by koffi: many UDP packets taken or sent with one call. Every foreign
 * function of the responder stands in this file.
 *
 *   kernel ◀──pointer──▶ arena: memory from mmap ◀──ArrayBuffer──▶ JavaScript
 *
 * Rules of memory, which whoever calls must keep:
 *
 *   1. The kernel is given addresses inside an arena and no others. An arena comes from mmap: it does not move, and no
 *      garbage collector knows it. (A pointer to a Buffer of JavaScript is valid only until the collector runs; handed
 *      to the kernel it corrupts the heap.)
 *   2. A pointer is a plain number, `arena.address` + offset: user space ends below 2^48, where doubles are exact.
 *   3. JavaScript sees an arena through one ArrayBuffer per thread and no more: V8 keeps a table of such memory by its
 *      address. So `viewArena` is called once per thread and arena.
 *   4. An arena belongs to one thread at a time. It may be mapped by another, which then unmaps it after that thread
 *      has ended; nobody unmaps what is still looked at.
 *   5. No call keeps a pointer after it has returned (recvmmsg and sendmmsg copy), so an arena may be written again
 *      at once.
 *
 * koffi is optional. Without it, on other systems and on other processors, and where a sandbox forbids the calls,
 * there is a reason instead, and datagram.ts serves.
 */
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import { koffiMissing, loadKoffi } from "#base/koffi.ts";

/** errno of the calls below; the same on x86-64 and arm64. */
export const errnos = { EINTR: 4, EBADF: 9, EAGAIN: 11 } as const;

/** poll.h and sys/socket.h, the same on x86-64 and arm64. */
export const POLLIN = 1;
export const POLLNVAL = 0x20;
export const MSG_DONTWAIT = 0x40;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Memory outside of the garbage collector's reach. */
export interface Arena {
  readonly address: number;
  readonly sizeBytes: number;
}

/** An arena of the calling thread, with its only view. */
export interface ArenaView extends Arena {
  readonly bytes: ArrayBuffer;
}

/** Offsets in `struct mmsghdr`, and its size, for pointers of 64 bits. */
export const messageHeader = {
  sizeBytes: 64,
  name: 0,
  nameLength: 8,
  vector: 16,
  vectorLength: 24,
  /** msg_len: how many octets came. */
  length: 56,
} as const;

/** Offsets in `struct iovec`, and its size. */
export const messageVector = { sizeBytes: 16, base: 0, length: 8 } as const;

/** Offsets in `struct pollfd`, and its size. */
export const pollEntry = { sizeBytes: 8, descriptor: 0, events: 4, returned: 6 } as const;

/**
 * Room of a socket address (`struct sockaddr_in6`, rounded up to whole lines), and offsets in both kinds: the family
 * in the machine's order, the port in the network's.
 */
export const socketAddress = {
  roomBytes: 32,
  family: 0,
  port: 2,
  address4: 4,
  length4: 16,
  address6: 8,
  scope6: 24,
  length6: 28,
} as const;

/** Socket options by level and name: sys/socket.h, linux/in.h, linux/in6.h, the same on x86-64 and arm64. */
export const socketOptions = {
  sendBuffer: [1, 7],
  receiveBuffer: [1, 8],
  receiveBufferForce: [1, 33],
  reusePort: [1, 15],
  freeBind4: [0, 15],
  freeBind6: [41, 78],
  pathMtu4: [0, 10],
  pathMtu6: [41, 23],
  only6: [41, 26],
} as const satisfies Record<string, readonly [level: number, name: number]>;
export type SocketOption = keyof typeof socketOptions;

/** Numbers in, numbers out: -1 says that `errno()` tells more. */
export interface SocketCalls {
  /** A UDP socket, closed on exec. */
  openUdp: (family: 4 | 6) => number;
  setOption: (descriptor: number, option: SocketOption, valueAt: number) => number;
  bind: (descriptor: number, addressAt: number, lengthBytes: number) => number;
  getName: (descriptor: number, addressAt: number, lengthAt: number) => number;
  close: (descriptor: number) => number;
  poll: (entriesAt: number, count: number, timeoutMs: number) => number;
  /** How many packets came. */
  receive: (descriptor: number, headersAt: number, count: number, flags: number, timeoutAt: number) => number;
  /** How many packets went. */
  send: (descriptor: number, headersAt: number, count: number, flags: number) => number;
  /** Of the last call of this thread that returned -1. */
  errno: () => number;
  /** Zeroed memory, for any thread. Throws when the system has none. */
  mapArena: (sizeBytes: number) => Arena;
  viewArena: (arena: Arena) => ArenaView;
  unmapArena: (arena: Arena) => void;
}

/** Whether UDP can be answered in batches here, or why not. */
export function isBatchAvailable(): { readonly ok: true } | { readonly ok: false; readonly reason: string } {
  const calls = openSocketCalls();
  return typeof calls === "string" ? { ok: false, reason: calls } : { ok: true };
}

/** The calls for this thread, or why there are none. */
export function openSocketCalls(): SocketCalls | string {
  if (process.platform !== "linux") return `not on ${process.platform}, only on Linux`;
  if ((process.arch !== "x64" && process.arch !== "arm64") || endianness() !== "LE") {
    return `not on ${process.arch}, only on x64 and arm64`;
  }
  const koffi = loadKoffi();
  if (koffi === undefined) return koffiMissing;

  const libc = koffi.load(null); // every process has its C library loaded, whatever the file is called
  const mmap = libc.func("int64_t mmap(int64_t, int64_t, int, int, int, int64_t)");
  const munmap = libc.func("int munmap(int64_t, int64_t)");
  const socket = libc.func("int socket(int, int, int)");
  const setsockopt = libc.func("int setsockopt(int, int, int, int64_t, uint)");
  // Called for every batch: no wrapper stands between.
  const receive = libc.func("int recvmmsg(int, int64_t, uint, int, int64_t)") as SocketCalls["receive"];
  const send = libc.func("int sendmmsg(int, int64_t, uint, int)") as SocketCalls["send"];

  const calls: SocketCalls = {
    openUdp: (family) => Number(socket(family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
    setOption(descriptor, option, valueAt) {
      const [level, name] = socketOptions[option];
      return Number(setsockopt(descriptor, level, name, valueAt, Int32Array.BYTES_PER_ELEMENT));
    },
    bind: libc.func("int bind(int, int64_t, uint)") as SocketCalls["bind"],
    getName: libc.func("int getsockname(int, int64_t, int64_t)") as SocketCalls["getName"],
    close: libc.func("int close(int)") as SocketCalls["close"],
    poll: libc.func("int poll(int64_t, ulong, int)") as SocketCalls["poll"],
    receive,
    send,
    errno: () => koffi.errno(),
    mapArena(sizeBytes) {
      const address = Number(mmap(0, sizeBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
      if (address === -1) throw new Error(`mmap of ${sizeBytes} octets: ${errnoName(koffi.errno())}`);
      return { address, sizeBytes };
    },
    viewArena: (arena) => ({ ...arena, bytes: koffi.view(BigInt(arena.address), arena.sizeBytes) }),
    unmapArena({ address, sizeBytes }) {
      munmap(address, sizeBytes);
    },
  };
  // A descriptor that can't be: EBADF says that the kernel has the call and lets us use it.
  const tried = [
    ["recvmmsg", () => receive(-1, 0, 0, 0, 0)],
    ["sendmmsg", () => send(-1, 0, 0, 0)],
  ] as const;
  for (const [name, call] of tried) {
    if (call() !== -1 || koffi.errno() !== errnos.EBADF) return `the kernel refuses ${name}`;
  }
  return calls;
}

/** `EADDRINUSE` and the like. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}

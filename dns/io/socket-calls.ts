/**
 * System calls that Node has no API for, made with koffi: they receive or send many UDP packets at once. Every foreign
 * function of the responder is in this file.
 *
 *   kernel ◀──pointer──▶ arena: memory from mmap ◀──ArrayBuffer──▶ JavaScript
 *
 * Memory rules that every caller must follow:
 *
 *   1. The kernel gets only addresses inside an arena. An arena comes from mmap: it does not move, and the garbage
 *      collector does not know it. (A pointer to a Buffer of JavaScript is valid only until the collector runs; handed
 *      to the kernel it corrupts the heap.)
 *   2. A pointer is a plain number, `arena.address` + offset: user space ends below 2^48, where doubles are exact.
 *   3. JavaScript accesses an arena through exactly one ArrayBuffer per thread, because V8 keeps a table of such memory
 *      by address. So call `viewArena` once per thread and arena.
 *   4. An arena belongs to one thread at a time. Another thread may map it; that one unmaps it after the user has
 *      ended. Nobody unmaps memory that is still in use.
 *   5. No call keeps a pointer after it returns (recvmmsg and sendmmsg copy), so the arena may be overwritten at once.
 *
 * koffi is optional. Without it, on other systems or processors, or where a sandbox forbids the calls, the result is
 * the reason instead, and datagram.ts is used.
 */
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import { koffiMissing, loadKoffi } from "#base/koffi.ts";

/** errno of the calls below; the same on x86-64 and arm64. */
export const errnos = { EINTR: 4, EBADF: 9, EAGAIN: 11 } as const;

/** From poll.h and sys/socket.h, the same on x86-64 and arm64. */
export const POLLIN = 1;
export const POLLNVAL = 0x20;
export const MSG_DONTWAIT = 0x40;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;

/** Memory that the garbage collector does not manage. */
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
  /** msg_len: octets received. */
  length: 56,
} as const;

/** Offsets in `struct iovec`, and its size. */
export const messageVector = { sizeBytes: 16, base: 0, length: 8 } as const;

/** Offsets in `struct pollfd`, and its size. */
export const pollEntry = { sizeBytes: 8, descriptor: 0, events: 4, returned: 6 } as const;

/**
 * Size of a socket address (`struct sockaddr_in6`, rounded up to whole cache lines), and offsets in both kinds. The
 * family is in host byte order, the port in network byte order.
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

/** All arguments and results are numbers. After -1, `errno()` has the error. */
export interface SocketCalls {
  /** A UDP socket, closed on exec. */
  openUdp: (family: 4 | 6) => number;
  setOption: (descriptor: number, option: SocketOption, valueAt: number) => number;
  bind: (descriptor: number, addressAt: number, lengthBytes: number) => number;
  getName: (descriptor: number, addressAt: number, lengthAt: number) => number;
  close: (descriptor: number) => number;
  poll: (entriesAt: number, count: number, timeoutMs: number) => number;
  /** Number of packets received. */
  receive: (descriptor: number, headersAt: number, count: number, flags: number, timeoutAt: number) => number;
  /** Number of packets sent. */
  send: (descriptor: number, headersAt: number, count: number, flags: number) => number;
  /** The error of this thread's last call that returned -1. */
  errno: () => number;
  /** Zeroed memory, for any thread. Throws if the system has none left. */
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

  const libc = koffi.load(null); // every process has loaded its C library, whatever the file's name
  const mmap = libc.func("int64_t mmap(int64_t, int64_t, int, int, int, int64_t)");
  const munmap = libc.func("int munmap(int64_t, int64_t)");
  const socket = libc.func("int socket(int, int, int)");
  const setsockopt = libc.func("int setsockopt(int, int, int, int64_t, uint)");
  // Called for every batch, so without a wrapper.
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
  // Try an impossible descriptor: EBADF means that the kernel has the call and allows it.
  const tried = [
    ["recvmmsg", () => receive(-1, 0, 0, 0, 0)],
    ["sendmmsg", () => send(-1, 0, 0, 0)],
  ] as const;
  for (const [name, call] of tried) {
    if (call() !== -1 || koffi.errno() !== errnos.EBADF) return `the kernel refuses ${name}`;
  }
  return calls;
}

/** The name of an errno, such as `EADDRINUSE`. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}

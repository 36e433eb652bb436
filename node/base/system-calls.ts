/**
 * System calls that Node has no API for, made with koffi. The DNS responder receives and sends many UDP packets at once
 * with them; the front's lanes own listening sockets and connections. Every foreign function that touches a socket is
 * in this file.
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
 *   5. No call keeps a pointer after it returns, so the arena may be overwritten at once.
 *
 * Descriptors belong to the process, not to the thread: a thread that dies leaves its own open.
 *
 * koffi is optional. Without it, on other systems or processors, or where a sandbox forbids the calls, the result is
 * the reason instead, and Node's own sockets are used.
 */
import { endianness } from "node:os";
import { getSystemErrorName } from "node:util";
import { koffiMissing, loadKoffi } from "./koffi.ts";

/** errno of the calls below; the same on x86-64 and arm64. */
export const errnos = {
  EINTR: 4,
  EBADF: 9,
  EAGAIN: 11,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOBUFS: 105,
  ECONNABORTED: 103,
} as const;

/** From poll.h, sys/epoll.h and sys/socket.h, the same on x86-64 and arm64. */
export const POLLIN = 1;
export const POLLNVAL = 0x20;
export const MSG_PEEK = 2;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const EPOLLIN = 1;
export const EPOLLOUT = 4;
export const EPOLLERR = 8;
export const EPOLLHUP = 0x10;
/** The other side has closed its sending side. */
export const EPOLLRDHUP = 0x2000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const SHUT_RD = 0;
export const SHUT_WR = 1;

export const MSG_MORE = 0x8000;
/** Only what is in the page cache (linux/fs.h). */
export const RWF_NOWAIT = 8;

const F_DUPFD_CLOEXEC = 1030;
const AF_UNIX = 1;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2_000_000;
const EFD_NONBLOCK = 0o4000;
const EFD_CLOEXEC = 0o2_000_000;
const EPOLL_CLOEXEC = 0o2_000_000;
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

/** Offsets in `struct epoll_event`, and its size: it is packed on x86-64 only. `data` has 64 bits. */
export function epollEventOn(processor: string) {
  return processor === "x64" ? { sizeBytes: 12, events: 0, data: 4 } : { sizeBytes: 16, events: 0, data: 8 };
}
export const epollEvent = epollEventOn(process.arch);

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

/** Socket options by level and name: sys/socket.h, linux/{in,in6,tcp}.h, the same on x86-64 and arm64. */
export const socketOptions = {
  reuseAddress: [1, 2],
  sendBuffer: [1, 7],
  receiveBuffer: [1, 8],
  keepAlive: [1, 9],
  receiveLowMark: [1, 18],
  receiveBufferForce: [1, 33],
  reusePort: [1, 15],
  freeBind4: [0, 15],
  freeBind6: [41, 78],
  pathMtu4: [0, 10],
  pathMtu6: [41, 23],
  only6: [41, 26],
  noDelay: [6, 1],
  cork: [6, 3],
  keepAliveIdleSeconds: [6, 4],
  keepAliveIntervalSeconds: [6, 5],
  keepAliveCount: [6, 6],
} as const satisfies Record<string, readonly [level: number, name: number]>;
export type SocketOption = keyof typeof socketOptions;

/** What all users need. All arguments and results are numbers. After -1, `errno()` has the error. */
interface CommonCalls {
  setOption: (descriptor: number, option: SocketOption, valueAt: number) => number;
  bind: (descriptor: number, addressAt: number, lengthBytes: number) => number;
  getName: (descriptor: number, addressAt: number, lengthAt: number) => number;
  close: (descriptor: number) => number;
  /** The error of this thread's last call that returned -1. */
  errno: () => number;
  /** Zeroed memory, for any thread. Throws if the system has none left. */
  mapArena: (sizeBytes: number) => Arena;
  viewArena: (arena: Arena) => ArenaView;
  unmapArena: (arena: Arena) => void;
}

/** UDP: many packets per call. */
export interface DatagramCalls extends CommonCalls {
  /** A UDP socket, closed on exec. */
  openUdp: (family: 4 | 6) => number;
  poll: (entriesAt: number, count: number, timeoutMs: number) => number;
  /** Number of packets received. */
  receive: (descriptor: number, headersAt: number, count: number, flags: number, timeoutAt: number) => number;
  /** Number of packets sent. */
  send: (descriptor: number, headersAt: number, count: number, flags: number) => number;
}

/** Streams: listening sockets, connections, and pairs of local sockets. Every new descriptor is closed on exec. */
export interface StreamCalls extends CommonCalls {
  /** A TCP socket that never blocks. */
  openTcp: (family: 4 | 6) => number;
  listen: (descriptor: number, backlog: number) => number;
  /** The descriptor of a connection that never blocks. */
  accept: (descriptor: number, addressAt: number, lengthAt: number) => number;
  /** Number of bytes received; 0 at the end. */
  receive: (descriptor: number, at: number, lengthBytes: number, flags: number) => number;
  send: (descriptor: number, at: number, lengthBytes: number, flags: number) => number;
  /** The same from several places: `struct msghdr` at `headerAt` names them. */
  sendMessage: (descriptor: number, headerAt: number, flags: number) => number;
  /**
   * Sends bytes of a file, from the offset at `offsetAt` on, without copying them. What is in the socket's queue still
   * belongs to the file: it must not be written over.
   */
  sendFile: (descriptor: number, file: number, offsetAt: number, lengthBytes: number) => number;
  /** Reads into the places that `count` vectors at `vectorsAt` name. */
  readAt: (file: number, vectorsAt: number, count: number, offset: number, flags: number) => number;
  /** Another descriptor of the same file. */
  duplicate: (file: number) => number;
  shutdown: (descriptor: number, how: number) => number;
  /** Writes the two descriptors of a pair of connected local streams that never block. */
  pair: (descriptorsAt: number) => number;
  openEpoll: () => number;
  controlEpoll: (epoll: number, operation: number, descriptor: number, eventAt: number) => number;
  waitEpoll: (epoll: number, eventsAt: number, count: number, timeoutMs: number) => number;
  /** A counter that wakes who waits for it with epoll: write 8 bytes to add, read 8 bytes to reset. */
  openEvent: () => number;
  read: (descriptor: number, at: number, lengthBytes: number) => number;
  write: (descriptor: number, at: number, lengthBytes: number) => number;
}

/** Whether UDP can be answered in batches here, or why not. */
export function isBatchAvailable(): { readonly ok: true } | { readonly ok: false; readonly reason: string } {
  const calls = openDatagramCalls();
  return typeof calls === "string" ? { ok: false, reason: calls } : { ok: true };
}

type Koffi = NonNullable<ReturnType<typeof loadKoffi>>;
type Library = ReturnType<Koffi["load"]>;
type Numbers = (...numbers: number[]) => number;

/** The calls for this thread, or why there are none. */
export function openDatagramCalls(): DatagramCalls | string {
  return open((libc, common) => {
    const socket = libc.func("int socket(int, int, int)") as Numbers;
    // Called for every batch, so without a wrapper.
    const receive = libc.func("int recvmmsg(int, int64_t, uint, int, int64_t)") as DatagramCalls["receive"];
    const send = libc.func("int sendmmsg(int, int64_t, uint, int)") as DatagramCalls["send"];
    const refused = refusedOf(common.errno, [
      ["recvmmsg", () => receive(-1, 0, 0, 0, 0)],
      ["sendmmsg", () => send(-1, 0, 0, 0)],
    ]);
    if (refused !== undefined) return refused;
    return {
      ...common,
      openUdp: (family) => socket(domainOf(family), SOCK_DGRAM | SOCK_CLOEXEC, 0),
      poll: libc.func("int poll(int64_t, ulong, int)") as DatagramCalls["poll"],
      receive,
      send,
    };
  });
}

let streamCalls: StreamCalls | string | undefined;

/** The calls for this thread, or why there are none. */
export function openStreamCalls(): StreamCalls | string {
  return (streamCalls ??= newStreamCalls());
}

function newStreamCalls(): StreamCalls | string {
  return open((libc, common) => {
    const socket = libc.func("int socket(int, int, int)") as Numbers;
    const socketpair = libc.func("int socketpair(int, int, int, int64_t)") as Numbers;
    const accept4 = libc.func("int accept4(int, int64_t, int64_t, int)") as Numbers;
    const eventfd = libc.func("int eventfd(uint, int)") as Numbers;
    const createEpoll = libc.func("int epoll_create1(int)") as Numbers;
    // Called for every request, so without a wrapper.
    const receive = libc.func("int64_t recv(int, int64_t, int64_t, int)") as StreamCalls["receive"];
    const send = libc.func("int64_t send(int, int64_t, int64_t, int)") as StreamCalls["send"];
    const sendMessage = libc.func("int64_t sendmsg(int, int64_t, int)") as StreamCalls["sendMessage"];
    const sendFile = libc.func("int64_t sendfile(int, int, int64_t, int64_t)") as StreamCalls["sendFile"];
    const fcntl = libc.func("int fcntl(int, int, int)") as Numbers;
    const waitEpoll = libc.func("int epoll_wait(int, int64_t, int, int)") as StreamCalls["waitEpoll"];
    const controlEpoll = libc.func("int epoll_ctl(int, int, int, int64_t)") as StreamCalls["controlEpoll"];
    const accept: StreamCalls["accept"] = (descriptor, addressAt, lengthAt) =>
      accept4(descriptor, addressAt, lengthAt, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const refused = refusedOf(common.errno, [
      ["accept4", () => accept(-1, 0, 0)],
      ["recv", () => receive(-1, 0, 0, 0)],
      ["send", () => send(-1, 0, 0, 0)],
      ["sendmsg", () => sendMessage(-1, 0, 0)],
      ["sendfile", () => sendFile(-1, -1, 0, 0)],
      ["epoll_create1", () => createEpoll(-1)],
      ["epoll_ctl", () => controlEpoll(-1, EPOLL_CTL_DEL, -1, 0)],
      ["eventfd2", () => eventfd(0, -1)],
      ["socketpair", () => socketpair(AF_UNIX, -1, 0, 0)],
    ]);
    if (refused !== undefined) return refused;
    return {
      ...common,
      openTcp: (family) => socket(domainOf(family), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
      listen: libc.func("int listen(int, int)") as StreamCalls["listen"],
      accept,
      receive,
      send,
      sendMessage,
      sendFile,
      readAt: libc.func("int64_t preadv2(int, int64_t, int, int64_t, int)") as StreamCalls["readAt"],
      duplicate: (file) => fcntl(file, F_DUPFD_CLOEXEC, 0),
      shutdown: libc.func("int shutdown(int, int)") as StreamCalls["shutdown"],
      pair: (descriptorsAt) => socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, descriptorsAt),
      openEpoll: () => createEpoll(EPOLL_CLOEXEC),
      controlEpoll,
      waitEpoll,
      openEvent: () => eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
      read: libc.func("int64_t read(int, int64_t, int64_t)") as StreamCalls["read"],
      write: libc.func("int64_t write(int, int64_t, int64_t)") as StreamCalls["write"],
    };
  });
}

function domainOf(family: 4 | 6): number {
  return family === 4 ? AF_INET : AF_INET6;
}

function open<Calls>(make: (libc: Library, common: CommonCalls) => Calls | string): Calls | string {
  if (process.platform !== "linux") return `not on ${process.platform}, only on Linux`;
  if ((process.arch !== "x64" && process.arch !== "arm64") || endianness() !== "LE") {
    return `not on ${process.arch}, only on x64 and arm64`;
  }
  const koffi = loadKoffi();
  if (koffi === undefined) return koffiMissing;

  try {
    return make(...commonOf(koffi));
  } catch (error) {
    // Old releases of musl lack some.
    return `the C library lacks a function: ${(error as Error).message}`;
  }
}

function commonOf(koffi: Koffi): [libc: Library, common: CommonCalls] {
  const libc = koffi.load(null); // every process has loaded its C library, whatever the file's name
  const mmap = libc.func("int64_t mmap(int64_t, int64_t, int, int, int, int64_t)") as Numbers;
  const munmap = libc.func("int munmap(int64_t, int64_t)") as Numbers;
  const setsockopt = libc.func("int setsockopt(int, int, int, int64_t, uint)") as Numbers;
  const common: CommonCalls = {
    setOption(descriptor, option, valueAt) {
      const [level, name] = socketOptions[option];
      return setsockopt(descriptor, level, name, valueAt, Int32Array.BYTES_PER_ELEMENT);
    },
    bind: libc.func("int bind(int, int64_t, uint)") as CommonCalls["bind"],
    getName: libc.func("int getsockname(int, int64_t, int64_t)") as CommonCalls["getName"],
    close: libc.func("int close(int)") as CommonCalls["close"],
    errno: () => koffi.errno(),
    mapArena(sizeBytes) {
      const address = mmap(0, sizeBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
      if (address === -1) throw new Error(`mmap of ${sizeBytes} octets: ${errnoName(koffi.errno())}`);
      return { address, sizeBytes };
    },
    viewArena: (arena) => ({ ...arena, bytes: koffi.view(BigInt(arena.address), arena.sizeBytes) }),
    unmapArena({ address, sizeBytes }) {
      munmap(address, sizeBytes);
    },
  };
  return [libc, common];
}

/**
 * Tries an impossible descriptor or flag: EBADF or EINVAL means that the kernel has the call and allows it, which a
 * sandbox may not do (seccomp).
 */
function refusedOf(
  errno: () => number,
  tried: readonly (readonly [name: string, call: () => number])[],
): string | undefined {
  for (const [name, call] of tried) {
    if (call() !== -1 || (errno() !== errnos.EBADF && errno() !== errnos.EINVAL)) return `the kernel refuses ${name}`;
  }
  return undefined;
}

/** The name of an errno, such as `EADDRINUSE`. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}

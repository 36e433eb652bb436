/**
 * A decoder process locks itself in, after its libraries are loaded and before the first picture comes.
 *
 *   limits       no core files, no file writes, few descriptors, bounded writable memory
 *   privileges   none to gain, not traceable, dies with its parent
 *   filter       only the system calls of seccomp.ts, in every thread
 *
 * All by koffi, which is optional. Without it, on other systems and other processors, the process works unprotected and
 * says why. Once in there is no way out.
 *
 * libuv opens an io_uring when Node starts. Such a ring makes system calls that no filter sees, and libuv can't work
 * without one that it has. So decoder-launch.ts first forbids io_uring (forbidIoUring) and then starts Node anew.
 */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";
import { decoderFilter, ioUringFilter } from "./seccomp.ts";

/**
 * All that a decoder process has for an environment: no secret, no NODE_OPTIONS of the parent. MALLOC_ARENA_MAX keeps
 * glibc from hoarding memory for each thread. One job runs at a time; the second pool thread is for sharp's own small
 * tasks.
 */
export const decoderEnvironment = { MALLOC_ARENA_MAX: "2", UV_THREADPOOL_SIZE: "2", LC_ALL: "C" } as const;

export interface SandboxReport {
  readonly sandbox: "seccomp" | "none";
  /** Why there is none; empty with one. */
  readonly reason: string;
}

// sys/prctl.h, linux/seccomp.h, sys/resource.h: the same on x86-64 and arm64
const PR_SET_PDEATHSIG = 1;
const PR_SET_DUMPABLE = 4;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
const seccompNumber: Readonly<Record<string, number>> = { x64: 317, arm64: 277 };
const RLIMIT_FSIZE = 1;
const RLIMIT_DATA = 2;
const RLIMIT_CORE = 4;
const RLIMIT_NOFILE = 7;
const AF_INET = 2;
const SOCK_STREAM = 1;

/** Standard streams, epoll and event descriptors of Node come to some 25. */
const descriptorsMax = 64;
/** Above what libraries have mapped at rest: stacks of encoder threads, garbage collection. */
const dataSlackBytes = 268_435_456;

/** What is asked of the C library. Each number is what the function returned. */
interface Libc {
  prctl: (option: number, value: number) => number;
  limit: (resource: number, most: number) => number;
  socket: () => number;
  /** Installs a filter in all threads: 0, or the error's number. */
  filter: (program: Buffer) => number;
}

/** Forbids to open an io_uring, now and in what this process becomes by execve. False where that can't be done. */
export async function forbidIoUring(): Promise<boolean> {
  const libc = await openLibc();
  const program = ioUringFilter(process.arch);
  if (typeof libc === "string" || program === undefined) return false;
  return libc.prctl(PR_SET_NO_NEW_PRIVS, 1) === 0 && libc.filter(program) === 0;
}

/**
 * @param memoryBytesMax what a picture may take. The pool watches resident memory and kills; this bound, somewhat
 *   higher, makes the allocation itself fail between two looks of the pool.
 */
export async function enterSandbox(memoryBytesMax: number): Promise<SandboxReport> {
  const libc = await openLibc();
  if (typeof libc === "string") return none(libc);
  const program = decoderFilter(process.arch, process.pid);
  if (program === undefined) return none(`no system-call filter is known for ${process.arch}`);
  if (hasIoUring()) return none("an io_uring is open, which would go around the filter");

  // These only tighten what the filter and the pool's watch enforce, so a refusal is no reason to stop.
  libc.limit(RLIMIT_CORE, 0);
  libc.limit(RLIMIT_FSIZE, 0);
  libc.limit(RLIMIT_NOFILE, descriptorsMax);
  libc.limit(RLIMIT_DATA, writableBytes() + memoryBytesMax + dataSlackBytes);
  libc.prctl(PR_SET_DUMPABLE, 0);
  libc.prctl(PR_SET_PDEATHSIG, SIGKILL);

  if (libc.prctl(PR_SET_NO_NEW_PRIVS, 1) !== 0) return none("the kernel refused no_new_privs");
  const error = libc.filter(program);
  if (error !== 0) return none(`the kernel refused the system-call filter (error ${error})`);
  // Believe it when it is seen.
  if (libc.socket() !== -1) return none("the system-call filter does not keep sockets away");
  if (canReadFiles()) return none("the system-call filter does not keep files away");
  return { sandbox: "seccomp", reason: "" };
}

/** The functions, or why there are none. */
async function openLibc(): Promise<Libc | string> {
  if (process.platform !== "linux") return `no sandbox is known for ${process.platform}`;
  const callNumber = seccompNumber[process.arch];
  if (callNumber === undefined || endianness() !== "LE") return `no sandbox is known for ${process.arch}`;
  const koffi = await import("koffi").then(
    (module) => module.default,
    () => undefined,
  );
  if (koffi === undefined) return "koffi, an optional dependency, can't be loaded";

  const libc = koffi.load(null); // every process has its C library loaded, whatever the file is called
  const prctl = libc.func("int prctl(int, ulong, ulong, ulong, ulong)");
  const setrlimit = libc.func("int setrlimit(int, void *)");
  const socket = libc.func("int socket(int, int, int)");
  const fprog = koffi.struct({ len: "uint16", filter: "void *" });
  const seccomp = libc.func("syscall", "long", ["long", "ulong", "ulong", koffi.pointer(fprog)]);
  return {
    prctl: (option, value) => Number(prctl(option, value, 0, 0, 0)),
    limit(resource, most) {
      const rlimit = Buffer.alloc(16);
      rlimit.writeBigUInt64LE(BigInt(most), 0);
      rlimit.writeBigUInt64LE(BigInt(most), 8);
      return Number(setrlimit(resource, rlimit));
    },
    socket: () => Number(socket(AF_INET, SOCK_STREAM, 0)),
    filter(program) {
      const result = Number(
        seccomp(callNumber, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, {
          len: program.length / 8,
          filter: program,
        }),
      );
      return result === -1 ? koffi.errno() : result;
    },
  };
}

function none(reason: string): SandboxReport {
  return { sandbox: "none", reason };
}

function hasIoUring(): boolean {
  return readdirSync("/proc/self/fd").some((descriptor) => {
    try {
      return readlinkSync(`/proc/self/fd/${descriptor}`).includes("io_uring");
    } catch {
      return false; // the descriptor that listed the folder is closed again
    }
  });
}

function canReadFiles(): boolean {
  try {
    readFileSync("/proc/self/status");
    return true;
  } catch {
    return false;
  }
}

/** Writable private memory that is mapped now (VmData), touched or not: what RLIMIT_DATA counts. */
function writableBytes(): number {
  const kibibytes = /^VmData:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1];
  return Number(kibibytes ?? 0) * 1024;
}

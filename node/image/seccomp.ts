/**
 * The system-call filter of a decoder process, as a classic BPF program (seccomp(2)), for x86-64 and arm64.
 *
 *   allowed      computing, memory, threads, reading and writing the pipes that are open already
 *   by argument  calls that may also reach beyond this process: only with the arguments that the work needs
 *   refused      EACCES: files, sockets, programs, other processes. The caller sees an ordinary failure.
 *   the rest     ENOSYS, so that a libc newer than this list falls back to an older call (clone3 → clone)
 *
 * A filter sees numbers, never what a pointer leads to. So no call that takes a path is allowed, and none by which
 * the kernel would send a signal to a process of the caller's choice (fcntl, ioctl, tgkill, prctl).
 *
 * Pure: it makes bytes. sandbox.ts gives them to the kernel.
 */

/** What one kind of processor calls things. Numbers of the kernel's tables, which never change. */
interface Machine {
  /** AUDIT_ARCH_* of linux/audit.h */
  readonly auditArch: number;
  readonly calls: ReadonlyMap<string, number>;
}

/** `read 0 write 1` */
function numbersOf(table: string): ReadonlyMap<string, number> {
  return new Map([...table.matchAll(/(\w+) (\d+)/g)].map(([, name = "", number]) => [name, Number(number)]));
}

function namesOf(list: string): readonly string[] {
  return list.trim().split(/\s+/);
}

const x64: Machine = {
  auditArch: 0xc000_003e,
  calls: numbersOf(`
    read 0 write 1 open 2 close 3 fstat 5 poll 7 lseek 8 mmap 9 mprotect 10 munmap 11 brk 12 rt_sigaction 13
    rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 readv 19 writev 20 sched_yield 24 mremap 25
    madvise 28 nanosleep 35 getpid 39 socket 41 connect 42 accept 43 sendto 44 sendmsg 46
    shutdown 48 bind 49 listen 50 socketpair 53 clone 56 fork 57 vfork 58 execve 59 exit 60 kill 62 uname 63
    fcntl 72 fsync 74 fdatasync 75 creat 85 gettimeofday 96
    getrusage 98 sysinfo 99 ptrace 101 getuid 102 getgid 104 geteuid 107
    getegid 108 sigaltstack 131 sched_getparam 143 sched_getscheduler 145 sched_get_priority_max 146
    sched_get_priority_min 147 prctl 157 gettid 186 tkill 200 futex 202 sched_getaffinity 204
    set_tid_address 218 restart_syscall 219 clock_gettime 228 clock_getres 229 clock_nanosleep 230
    exit_group 231 epoll_wait 232 epoll_ctl 233 tgkill 234 openat 257 newfstatat 262 ppoll 271
    set_robust_list 273 epoll_pwait 281 accept4 288 sendmmsg 307 process_vm_readv 310 process_vm_writev 311
    getrandom 318 execveat 322 membarrier 324 pkey_mprotect 329 pkey_alloc 330 pkey_free 331 rseq 334
    io_uring_setup 425 openat2 437 epoll_pwait2 441 futex_waitv 449
  `),
};

const arm64: Machine = {
  auditArch: 0xc000_00b7,
  calls: numbersOf(`
    epoll_ctl 21 epoll_pwait 22 fcntl 25 ioctl 29 openat 56 close 57 lseek 62 read 63 write 64 readv 65
    writev 66 pread64 67 ppoll 73 newfstatat 79 fstat 80
    fsync 82 fdatasync 83 exit 93 exit_group 94 set_tid_address 96 futex 98
    set_robust_list 99 nanosleep 101 clock_gettime 113 clock_getres 114 clock_nanosleep 115 ptrace 117
    sched_getscheduler 120 sched_getparam 121 sched_getaffinity 123 sched_yield 124 sched_get_priority_max 125
    sched_get_priority_min 126 restart_syscall 128 kill 129 tkill 130 tgkill 131 sigaltstack 132
    rt_sigaction 134 rt_sigprocmask 135 rt_sigreturn 139 uname 160 getrusage 165 prctl 167 gettimeofday 169
    getpid 172 getuid 174 geteuid 175 getgid 176 getegid 177 gettid 178 sysinfo 179 socket 198 socketpair 199
    bind 200 listen 201 accept 202 connect 203 sendto 206 shutdown 210 sendmsg 211 brk 214 munmap 215
    mremap 216 clone 220 execve 221 mmap 222 mprotect 226 madvise 233 accept4 242 sendmmsg 269
    process_vm_readv 270 process_vm_writev 271 getrandom 278 execveat 281 membarrier 283 pkey_mprotect 288
    pkey_alloc 289 pkey_free 290 rseq 293 io_uring_setup 425 openat2 437 epoll_pwait2 441 futex_waitv 449
  `),
};

const machines: ReadonlyMap<string, Machine> = new Map([
  ["x64", x64],
  ["arm64", arm64],
]);

/** The most frequent first: the kernel walks the program in order where it can't remember an answer. */
const allowed = namesOf(`
  read write futex mmap munmap mprotect epoll_wait epoll_pwait readv writev brk mremap clock_gettime
  sched_yield epoll_ctl epoll_pwait2 close fstat lseek pread64 poll ppoll shutdown nanosleep
  clock_nanosleep clock_getres gettimeofday getpid gettid getuid geteuid getgid getegid uname sysinfo
  getrusage getrandom rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall set_tid_address
  set_robust_list rseq pkey_mprotect pkey_alloc pkey_free futex_waitv
  sched_get_priority_max sched_get_priority_min fsync fdatasync exit exit_group
`);

const refused = namesOf(`
  open openat openat2 creat socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg fork
  vfork execve execveat ptrace process_vm_readv process_vm_writev kill tkill io_uring_setup
`);

// linux/bpf_common.h and linux/seccomp.h
const loadWord = 0x20;
const jumpIfEqual = 0x15;
const jumpIfAtLeast = 0x35;
const jumpIfSet = 0x45;
const answer = 0x06;
const allow = 0x7fff_0000;
const killProcess = 0x8000_0000;
const failWith = (errno: number): number => 0x0005_0000 | errno;
const EBADF = 9;
const EACCES = 13;
const ENOSYS = 38;

// Where seccomp_data has what, little-endian.
const atNumber = 0;
const atArch = 4;
const atArgument = (index: number): number => 16 + 8 * index;

// linux/sched.h. A thread as glibc and musl make one: it shares everything, and gets no namespace of its own.
const CLONE_THREAD = 0x1_0000;
const flagsOfThreads = 0x7d_0f00;
// linux/prctl.h
const PR_SET_NAME = 15;
const PR_SET_VMA = 0x5356_4d41;
// asm-generic/ioctls.h. Not among them: FIOASYNC, FIOSETOWN, SIOCSPGRP, which send signals.
const FIONBIO = 0x5421;
// asm-generic/fcntl.h. Not among them: F_SETOWN, F_SETSIG, leases, locks.
const F_GETFD = 1;
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
/** O_RDWR, O_WRONLY, O_APPEND, O_NONBLOCK: what Node sets and gives back. Not O_ASYNC, which sends signals. */
const statusFlags = 0xc03;
/**
 * asm-generic/mman-common.h: NORMAL, WILLNEED, DONTNEED, FREE, DONTFORK, DOFORK, HUGEPAGE, NOHUGEPAGE, DONTDUMP,
 * DODUMP, GUARD_INSTALL, GUARD_REMOVE. Not HWPOISON, by which root takes memory from the whole machine.
 */
const memoryAdvice = [0, 3, 4, 8, 10, 11, 14, 15, 16, 17, 102, 103];
/** linux/membarrier.h: QUERY and those that are private to the process. The global ones interrupt every core. */
const privateBarriers = [0, 8, 16, 32, 64];
/** x86-64's 32-bit-pointer calls carry this bit, and would pass for other numbers. */
const x32Bit = 0x4000_0000;

type Instruction = readonly [code: number, jumpIfTrue: number, jumpIfFalse: number, constant: number];

/**
 * The program for this processor, or undefined where none is known.
 *
 * @param cpu as `process.arch`
 * @param ownPid the only process that may get a signal, which abort() sends to itself
 */
export function decoderFilter(cpu: string, ownPid: number): Buffer | undefined {
  const machine = machines.get(cpu);
  if (machine === undefined) return undefined;
  const { calls } = machine;
  const program = openProgram(machine);
  const settle = (names: readonly string[], result: number): void => {
    for (const name of names) {
      const number = calls.get(name);
      if (number !== undefined) program.push([jumpIfEqual, 0, 1, number], [answer, 0, 0, result]);
    }
  };
  /**
   * Allows `name` when its argument is one of `values`, else refuses it. Arguments are compared by their lower half.
   */
  const settleByValue = (name: string, argument: number, values: readonly number[]): void => {
    const body: Instruction[] = [[loadWord, 0, 0, atArgument(argument)]];
    for (const value of values) body.push([jumpIfEqual, 0, 1, value], [answer, 0, 0, allow]);
    settleBy(name, [...body, [answer, 0, 0, failWith(EACCES)]]);
  };
  const settleBy = (name: string, body: readonly Instruction[]): void => {
    const number = calls.get(name);
    if (number !== undefined) program.push([jumpIfEqual, 0, body.length, number], ...body);
  };

  settle(allowed, allow);
  settleByValue("madvise", 2, memoryAdvice);
  settleByValue("membarrier", 0, privateBarriers);
  settleByValue("tgkill", 0, [ownPid]);
  // 0: the calling thread. Of others not even whether they are there.
  for (const name of ["sched_getaffinity", "sched_getparam", "sched_getscheduler"]) settleByValue(name, 0, [0, ownPid]);
  settleByValue("prctl", 0, [PR_SET_NAME, PR_SET_VMA]);
  settleByValue("ioctl", 1, [FIONBIO]);
  settleBy("clone", [
    [loadWord, 0, 0, atArgument(0)],
    [jumpIfSet, 0, 1, ~flagsOfThreads],
    [answer, 0, 0, failWith(EACCES)],
    [jumpIfSet, 0, 1, CLONE_THREAD],
    [answer, 0, 0, allow],
    [answer, 0, 0, failWith(EACCES)],
  ]);
  settleBy("fcntl", [
    [loadWord, 0, 0, atArgument(1)],
    ...[F_GETFD, F_SETFD, F_GETFL].flatMap((command): Instruction[] => [
      [jumpIfEqual, 0, 1, command],
      [answer, 0, 0, allow],
    ]),
    [jumpIfEqual, 1, 0, F_SETFL],
    [answer, 0, 0, failWith(EACCES)],
    [loadWord, 0, 0, atArgument(2)],
    [jumpIfSet, 0, 1, ~statusFlags],
    [answer, 0, 0, failWith(EACCES)],
    [answer, 0, 0, allow],
  ]);
  // It takes a path. Some releases of glibc ask by it for the size of an open file; Node, which does so for its
  // standard streams when it ends, takes this error for a stream that is closed, and any other for a fault.
  settle(["newfstatat"], failWith(EBADF));
  settle(refused, failWith(EACCES));
  program.push([answer, 0, 0, failWith(ENOSYS)]);
  return encode(program);
}

/** Forbids only to open an io_uring: what a process needs before Node starts in it. */
export function ioUringFilter(cpu: string): Buffer | undefined {
  const machine = machines.get(cpu);
  const number = machine?.calls.get("io_uring_setup");
  if (machine === undefined || number === undefined) return undefined;
  const program = openProgram(machine);
  program.push([jumpIfEqual, 0, 1, number], [answer, 0, 0, failWith(ENOSYS)], [answer, 0, 0, allow]);
  return encode(program);
}

/** Ends a process that calls by another processor's numbers, then leaves the call's number to compare with. */
function openProgram({ auditArch }: Machine): Instruction[] {
  return [
    [loadWord, 0, 0, atArch],
    [jumpIfEqual, 1, 0, auditArch],
    [answer, 0, 0, killProcess],
    [loadWord, 0, 0, atNumber],
    [jumpIfAtLeast, 0, 1, x32Bit],
    [answer, 0, 0, failWith(ENOSYS)],
  ];
}

function encode(program: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(program.length * 8);
  for (const [index, [code, jumpIfTrue, jumpIfFalse, constant]] of program.entries()) {
    const at = index * 8;
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt8(jumpIfTrue, at + 2);
    bytes.writeUInt8(jumpIfFalse, at + 3);
    bytes.writeUInt32LE(constant >>> 0, at + 4);
  }
  return bytes;
}

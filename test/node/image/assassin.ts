/**
 * Tries to have the kernel kill a process, and to see files, by calls that name neither signal nor file to a filter
 * which looks at nothing but the call's number: `node assassin.ts VICTIM in|out`, in the decoders' sandbox or without.
 *
 * Prints a line of JSON, name of the attempt → "done" or the error's number. A byte on standard input is the event that
 * the kernel would signal; it is printed back.
 */
import koffi from "koffi";
import { readSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { decoderEnvironment, enterSandbox, forbidIoUring } from "../../../node/image/sandbox.ts";

const [node = "", , victim = "", where = ""] = process.argv;
const script = fileURLToPath(import.meta.url);
if (where === "in" && process.execve !== undefined && (await forbidIoUring())) {
  process.execve(node, [node, script, victim, "inside"], decoderEnvironment);
}

const libc = koffi.load(null);
const fcntl = libc.func("int fcntl(int, int, ...)");
const ioctl = libc.func("int ioctl(int, ulong, ...)");
const tgkill = libc.func("int tgkill(int, int, int)");
const newfstatat = libc.func("syscall", "long", ["long", "int", "str", "void *", "int"]);
const prlimit = libc.func("int prlimit(int, int, void *, void *)");
const scheduler = libc.func("int sched_getscheduler(int)");
const newfstatatNumber = process.arch === "x64" ? 262 : 79;
const [AT_FDCWD, AT_EMPTY_PATH] = [-100, 0x1000];
const [F_SETFL, F_SETOWN, F_SETSIG, O_ASYNC, O_NONBLOCK] = [4, 8, 10, 0x2000, 0x800];
const [FIOSETOWN, FIOASYNC] = [0x8901, 0x5452];
const SIGKILL = 9;
const RLIMIT_NOFILE = 7;

const result = (returned: unknown): string | number => (Number(returned) === -1 ? koffi.errno() : "done");
const pid = Number(victim);
const number = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
};

const report =
  where === "inside" ? await enterSandbox(100_000_000) : { sandbox: "none", reason: "it is to be tried without" };
const room = Buffer.alloc(256);
const attempts = {
  "stat a path": result(newfstatat(newfstatatNumber, AT_FDCWD, "/etc/passwd", room, 0)),
  "stat a path, with AT_EMPTY_PATH": result(newfstatat(newfstatatNumber, AT_FDCWD, "/etc/passwd", room, AT_EMPTY_PATH)),
  "see another's scheduling": result(scheduler(pid)),
  "see another's limits": result(prlimit(pid, RLIMIT_NOFILE, null, room)),
  // The last ones: without the sandbox a signal may be on its way from here on.
  "ioctl FIOSETOWN": result(ioctl(0, FIOSETOWN, "void *", number(pid))),
  "fcntl F_SETOWN": result(fcntl(0, F_SETOWN, "int", pid)),
  "fcntl F_SETSIG": result(fcntl(0, F_SETSIG, "int", SIGKILL)),
  "ioctl FIOASYNC": result(ioctl(0, FIOASYNC, "void *", number(1))),
  "fcntl F_SETFL O_ASYNC": result(fcntl(0, F_SETFL, "int", O_ASYNC | O_NONBLOCK)),
  tgkill: where === "inside" ? result(tgkill(pid, pid, SIGKILL)) : "not tried",
};
writeSync(1, `${JSON.stringify({ ...report, attempts })}\n`);
const event = Buffer.alloc(1);
// The kernel signals data that nobody is waiting for, so nothing waits in a read.
const pause = new Int32Array(new SharedArrayBuffer(4));
while (!hasRead()) Atomics.wait(pause, 0, 0, 5);
writeSync(1, event);

function hasRead(): boolean {
  try {
    return readSync(0, event) === 1;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return false;
    throw error;
  }
}

/**
 * Runs a program as on a kernel that refuses a system call: `node without-call.ts CALL PROGRAM WORD…`. A filter of its
 * own answers the call with EPERM, to the program and to all that it starts.
 */
import koffi from "koffi";

const numbers: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  seccomp: { x64: 317, arm64: 277 },
  sendfile: { x64: 40, arm64: 71 },
};
const [, , call = "", file = "", ...words] = process.argv;
const number = numbers[call]?.[process.arch];
if (number === undefined) throw new Error(`no number of ${call} is known for ${process.arch}`);
const [PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, EPERM] = [38, 22, 2, 1];
// Load the call's number; when it is this one, answer EPERM; else allow (linux/bpf_common.h, linux/seccomp.h).
const program = Buffer.alloc(4 * 8);
for (const [index, [code, jumpIfTrue, jumpIfFalse, constant]] of (
  [
    [0x20, 0, 0, 0],
    [0x15, 0, 1, number],
    [0x06, 0, 0, 0x0005_0000 | EPERM],
    [0x06, 0, 0, 0x7fff_0000],
  ] as const
).entries()) {
  program.writeUInt16LE(code, index * 8);
  program.writeUInt8(jumpIfTrue, index * 8 + 2);
  program.writeUInt8(jumpIfFalse, index * 8 + 3);
  program.writeUInt32LE(constant, index * 8 + 4);
}
const libc = koffi.load(null);
const fprog = koffi.struct({ len: "uint16", filter: "void *" });
const keep = libc.func("int prctl(int, ulong, ulong, ulong, ulong)");
const install = libc.func("prctl", "int", ["int", "ulong", koffi.pointer(fprog)]);
keep(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
if (install(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, { len: program.length / 8, filter: program }) !== 0) {
  throw new Error("the filter was refused");
}
process.execve?.(file, [file, ...words], process.env);

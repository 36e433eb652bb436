import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { needs } from "../../support/needs.ts";
import { decoderFilter, ioUringFilter } from "../../../node/image/seccomp.ts";

describe("the filter as a program", () => {
  for (const cpu of ["x64", "arm64"]) {
    it(`for ${cpu} every jump lands inside, and every path ends in an answer`, () => {
      for (const program of [decoderFilter(cpu, 1234), ioUringFilter(cpu)]) {
        assert(program !== undefined);
        const length = program.length / 8;
        assert(length <= 4096, "the kernel's limit");
        const isAnswer = (index: number): boolean => program.readUInt16LE(index * 8) === 0x06;
        assert(isAnswer(length - 1));
        for (let index = 0; index < length; index += 1) {
          if (isAnswer(index)) continue;
          for (const jump of [program.readUInt8(index * 8 + 2), program.readUInt8(index * 8 + 3)]) {
            assert(index + 1 + jump < length, `instruction ${index} jumps ${jump}`);
          }
        }
      }
    });
  }

  /** What the kernel would answer: a small interpreter of the four instructions in use. */
  function answerTo(program: Buffer, arch: number, number: number, args: readonly number[] = []): number {
    const facts = Buffer.alloc(64);
    facts.writeUInt32LE(number, 0);
    facts.writeUInt32LE(arch >>> 0, 4);
    for (const [index, value] of args.entries()) facts.writeUInt32LE(value >>> 0, 16 + index * 8);
    let loaded = 0;
    for (let at = 0; ; at += 8) {
      const [code, jumpTrue, jumpFalse, constant] = [
        program.readUInt16LE(at),
        program.readUInt8(at + 2),
        program.readUInt8(at + 3),
        program.readUInt32LE(at + 4),
      ];
      if (code === 0x06) return constant;
      if (code === 0x20) loaded = facts.readUInt32LE(constant);
      else {
        const holds =
          code === 0x15 ? loaded === constant : code === 0x35 ? loaded >= constant : (loaded & constant) !== 0;
        at += 8 * (holds ? jumpTrue : jumpFalse);
      }
    }
  }

  const allow = 0x7fff_0000;
  const kill = 0x8000_0000;
  const eacces = 0x0005_000d;
  const ebadf = 0x0005_0009;
  const enosys = 0x0005_0026;
  const x64 = 0xc000_003e;
  const arm64 = 0xc000_00b7;
  const rows: [title: string, cpu: string, arch: number, number: number, args: number[], answer: number][] = [
    ["read", "x64", x64, 0, [], allow],
    ["a thread", "x64", x64, 56, [0x003d_0f00], allow],
    ["a process", "x64", x64, 56, [0x0120_0011], eacces],
    ["clone3, so that libc takes clone", "x64", x64, 435, [], enosys],
    ["socket", "x64", x64, 41, [], eacces],
    ["execve", "x64", x64, 59, [], eacces],
    ["openat", "x64", x64, 257, [], eacces],
    ["io_uring_setup", "x64", x64, 425, [], eacces],
    ["tgkill of itself", "x64", x64, 234, [1234], allow],
    ["tgkill of another", "x64", x64, 234, [1], eacces],
    ["a thread in a network of its own", "x64", x64, 56, [0x403d_0f00], eacces],
    ["fcntl F_GETFL", "x64", x64, 72, [0, 3], allow],
    ["fcntl F_SETFL O_RDWR|O_NONBLOCK", "x64", x64, 72, [0, 4, 0x802], allow],
    ["fcntl F_SETFL O_ASYNC", "x64", x64, 72, [0, 4, 0x2000], eacces],
    ["fcntl F_SETFL O_ASYNC among others", "x64", x64, 72, [0, 4, 0x2803], eacces],
    ["fcntl F_SETOWN", "x64", x64, 72, [0, 8, 1], eacces],
    ["fcntl F_SETSIG", "x64", x64, 72, [0, 10, 9], eacces],
    ["fcntl F_SETOWN_EX", "x64", x64, 72, [0, 15], eacces],
    ["fcntl F_SETLEASE", "x64", x64, 72, [0, 1024, 0], eacces],
    ["fcntl F_NOTIFY", "x64", x64, 72, [0, 1026, 1], eacces],
    ["newfstatat of a path", "x64", x64, 262, [0xffff_ff9c, 0, 0, 0], ebadf],
    ["newfstatat with AT_EMPTY_PATH", "x64", x64, 262, [0, 0, 0, 0x1000], ebadf],
    ["fstat of an open file", "x64", x64, 5, [0], allow],
    ["stat", "x64", x64, 4, [], enosys],
    ["statx", "x64", x64, 332, [], enosys],
    ["scheduling of itself", "x64", x64, 145, [0], allow],
    ["scheduling of another", "x64", x64, 145, [1], eacces],
    ["limits of another", "x64", x64, 302, [1], enosys],
    ["giving memory back", "x64", x64, 28, [0, 0, 4], allow],
    ["poisoning memory", "x64", x64, 28, [0, 0, 100], eacces],
    ["a barrier on every core", "x64", x64, 324, [1], eacces],
    ["a signal with a value", "x64", x64, 129, [1], enosys],
    ["a signal by a file descriptor", "x64", x64, 424, [3], enosys],
    ["naming a thread", "x64", x64, 157, [15], allow],
    ["another prctl", "x64", x64, 157, [4], eacces],
    ["FIONBIO", "x64", x64, 16, [0, 0x5421], allow],
    ["another ioctl", "x64", x64, 16, [0, 0x5412], eacces],
    ["FIOASYNC", "x64", x64, 16, [0, 0x5452], eacces],
    ["FIOSETOWN", "x64", x64, 16, [0, 0x8901], eacces],
    ["SIOCSPGRP", "x64", x64, 16, [0, 0x8902], eacces],
    ["a call of the future", "x64", x64, 999, [], enosys],
    ["a call with 32-bit pointers", "x64", x64, 0x4000_0000, [], enosys],
    ["a call by 32-bit numbers", "x64", 0x4000_0003, 0, [], kill],
    ["read", "arm64", arm64, 63, [], allow],
    ["a thread", "arm64", arm64, 220, [0x003d_0f00], allow],
    ["a process", "arm64", arm64, 220, [17], eacces],
    ["socket", "arm64", arm64, 198, [], eacces],
    ["execve", "arm64", arm64, 221, [], eacces],
    ["fcntl F_SETFL O_NONBLOCK", "arm64", arm64, 25, [0, 4, 0x800], allow],
    ["fcntl F_SETFL O_ASYNC", "arm64", arm64, 25, [0, 4, 0x2000], eacces],
    ["fcntl F_SETOWN", "arm64", arm64, 25, [0, 8, 1], eacces],
    ["newfstatat of a path", "arm64", arm64, 79, [0xffff_ff9c, 0, 0, 0], ebadf],
    ["newfstatat with AT_EMPTY_PATH", "arm64", arm64, 79, [0, 0, 0, 0x1000], ebadf],
    ["FIOASYNC", "arm64", arm64, 29, [0, 0x5452], eacces],
    ["statx", "arm64", arm64, 291, [], enosys],
    ["poisoning memory", "arm64", arm64, 233, [0, 0, 100], eacces],
    ["tgkill of another", "arm64", arm64, 131, [1], eacces],
    ["a call by 32-bit numbers", "arm64", 0x4000_0028, 3, [], kill],
  ];
  for (const [title, cpu, arch, number, args, answer] of rows) {
    it(`${cpu}: ${title}`, () => {
      const program = decoderFilter(cpu, 1234);
      assert(program !== undefined);
      assert.equal(answerTo(program, arch, number, args).toString(16), answer.toString(16));
    });
  }

  it("there is none for other processors", () => {
    assert.equal(decoderFilter("riscv64", 1), undefined);
    assert.equal(ioUringFilter("riscv64"), undefined);
  });
});

describe("inside of the sandbox", () => {
  const prisoner = fileURLToPath(new URL("./prisoner.ts", import.meta.url));
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [prisoner], { timeout: 30_000, env: {} });
  const report = JSON.parse(stdout.toString() || "{}") as {
    sandbox?: string;
    reason?: string;
    attempts?: Record<string, string>;
  };

  it("a process gets in and does not get out", (t) => {
    assert.equal(status, 0, `${signal} ${stderr.toString()}`);
    if (!needs(t, report.sandbox === "seccomp", `there is no sandbox here: ${report.reason}`)) return;
    const { compute, ...escapes } = report.attempts ?? {};
    assert.equal(compute, "done");
    assert.equal(Object.keys(escapes).length, 12);
    for (const [attempt, outcome] of Object.entries(escapes)) {
      assert.match(outcome, /^(?:EACCES|EPERM|ENOSYS|ERR_\w+)$/, `${attempt}: ${outcome}`);
    }
  });
});

describe("a process that must not be killed", () => {
  const assassin = fileURLToPath(new URL("./assassin.ts", import.meta.url));

  interface Report {
    sandbox: string;
    reason: string;
    attempts: Record<string, string | number>;
  }

  /** Lets it try, gives the event that the kernel would signal, and tells what ended the victim. */
  async function tryToKill(where: "in" | "out"): Promise<{ report: Report; endedBy: NodeJS.Signals | null }> {
    const victim = spawn("sleep", ["60"], { stdio: "ignore" });
    const ended = once(victim, "exit") as Promise<[number | null, NodeJS.Signals | null]>;
    await once(victim, "spawn");
    const child = spawn(process.execPath, [assassin, String(victim.pid), where], {
      stdio: ["pipe", "pipe", "inherit"],
      timeout: 60_000,
    });
    const gone = once(child, "exit");
    const report = await (async () => {
      try {
        const said = child.stdout.setEncoding("utf8")[Symbol.asyncIterator]();
        const told = JSON.parse(String((await said.next()).value)) as Report;
        child.stdin.write("!");
        assert.equal((await said.next()).value, "!", "the event took place");
        return told;
      } finally {
        // A process that SIGKILL was sent to before never sees this.
        victim.kill("SIGTERM");
        child.stdin.end();
      }
    })();
    await gone;
    return { report, endedBy: (await ended)[1] };
  }

  it("is killed through the kernel's own signals where there is no sandbox", async () => {
    const { report, endedBy } = await tryToKill("out");
    assert.equal(report.attempts["fcntl F_SETFL O_ASYNC"], "done");
    assert.equal(report.attempts["stat a path"], "done");
    assert.equal(endedBy, "SIGKILL");
  });

  it("lives on when a decoder tries the same, and no file is seen", async (t) => {
    const { report, endedBy } = await tryToKill("in");
    if (!needs(t, report.sandbox === "seccomp", `there is no sandbox here: ${report.reason}`)) return;
    assert.equal(endedBy, "SIGTERM");
    const [EBADF, EACCES, ENOSYS] = [9, 13, 38];
    assert.deepEqual(report.attempts, {
      "stat a path": EBADF,
      "stat a path, with AT_EMPTY_PATH": EBADF,
      "see another's scheduling": EACCES,
      "see another's limits": ENOSYS,
      "ioctl FIOSETOWN": EACCES,
      "fcntl F_SETOWN": EACCES,
      "fcntl F_SETSIG": EACCES,
      "ioctl FIOASYNC": EACCES,
      "fcntl F_SETFL O_ASYNC": EACCES,
      tgkill: EACCES,
    });
  });
});

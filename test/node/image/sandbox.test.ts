import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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
    ["naming a thread", "x64", x64, 157, [15], allow],
    ["another prctl", "x64", x64, 157, [4], eacces],
    ["FIONBIO", "x64", x64, 16, [0, 0x5421], allow],
    ["another ioctl", "x64", x64, 16, [0, 0x5412], eacces],
    ["a call of the future", "x64", x64, 999, [], enosys],
    ["a call with 32-bit pointers", "x64", x64, 0x4000_0000, [], enosys],
    ["a call by 32-bit numbers", "x64", 0x4000_0003, 0, [], kill],
    ["read", "arm64", arm64, 63, [], allow],
    ["a thread", "arm64", arm64, 220, [0x003d_0f00], allow],
    ["a process", "arm64", arm64, 220, [17], eacces],
    ["socket", "arm64", arm64, 198, [], eacces],
    ["execve", "arm64", arm64, 221, [], eacces],
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

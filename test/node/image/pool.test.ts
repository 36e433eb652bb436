import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, afterEach, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { systemClock } from "../../../node/base/clock.ts";
import { NearcastError, type ErrorCode } from "../../../node/base/errors.ts";
import { silentLog } from "../../../node/base/log.ts";
import { openDecoderPool, type DecoderPool, type DecoderPoolOptions } from "../../../node/image/pool.ts";
import { fakeClock, type FakeClock } from "../../support/fake-clock.ts";
import { needs } from "../../support/needs.ts";
import { noise, order, plain, pngBomb } from "./pictures.ts";

const options = { pixelsMax: 100_000_000, timeoutMs: 60_000 };
const hostile = new URL("./hostile-decoder.ts", import.meta.url);

async function codeOf(work: Promise<unknown>): Promise<ErrorCode> {
  try {
    await work;
  } catch (error) {
    assert(error instanceof NearcastError, String(error));
    return error.code;
  }
  return assert.fail("nothing was thrown");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Looks again until it holds; what it waits for is another process. */
async function until(what: string, holds: () => boolean): Promise<void> {
  for (let round = 0; round < 2000; round += 1) {
    if (holds()) return;
    await pause(10);
  }
  assert.fail(`it never came: ${what}`);
}

function onlyPid(pool: DecoderPool): number {
  const { pids } = pool.stats();
  assert.equal(pids.length, 1);
  return pids[0] ?? 0;
}

let picture: Buffer;
before(async () => {
  picture = await noise(120, 80).jpeg().toBuffer();
});

const opened: DecoderPool[] = [];
function open(wish: Partial<DecoderPoolOptions> = {}): DecoderPool {
  const pool = openDecoderPool({ size: 1, clock: systemClock, log: silentLog, ...wish });
  opened.push(pool);
  return pool;
}
/** A pool on a clock that stands still, whose one process is ready and then stopped: it takes jobs and does nothing. */
async function openStuck(
  wish: Partial<DecoderPoolOptions> = {},
): Promise<{ pool: DecoderPool; clock: FakeClock; pid: number }> {
  const clock = fakeClock();
  const pool = open({ clock, ...wish });
  await pool.ready();
  const pid = onlyPid(pool);
  process.kill(pid, "SIGSTOP");
  return { pool, clock, pid };
}
afterEach(async () => {
  const pids = opened.flatMap((pool) => pool.stats().pids);
  await Promise.all(opened.splice(0).map((pool) => pool.close({ graceMs: 0 })));
  assert.deepEqual(pids.filter(isAlive), [], "no decoder process is left");
});

describe("work", () => {
  it("pictures are inspected and rendered in two processes at a time", async () => {
    const pool = open({ size: 2 });
    const jobs = Array.from({ length: 6 }, (_, index) =>
      pool.render(picture, order({ widthPx: 10 + index, format: "webp" }), options),
    );
    const facts = await pool.inspect(picture, options);
    assert.deepEqual(facts, { type: "jpeg", width: 120, height: 80, frames: 1, hasAlpha: false, scans: 1 });
    for (const [index, { body, type, width, renderMs }] of (await Promise.all(jobs)).entries()) {
      assert.equal(type, "image/webp");
      assert.equal(width, 10 + index);
      assert.equal((await sharp(body).metadata()).width, 10 + index);
      assert(renderMs >= 0);
    }
    const stats = pool.stats();
    assert.deepEqual([stats.renders, stats.inspections, stats.crashes, stats.queued, stats.busy], [6, 1, 0, 0, 0]);
    assert.equal(stats.pids.length, 2);
  });

  it("decoders run under the system-call filter, and say so", async (t) => {
    const pool = open();
    await pool.ready();
    const { sandbox, sandboxReason, pids } = pool.stats();
    if (!needs(t, sandbox === "seccomp", `there is no sandbox here: ${sandboxReason}`)) return;
    assert.equal(sandboxReason, "");
    assert.match(readFileSync(`/proc/${pids[0]}/status`, "latin1"), /^Seccomp:\t2\nSeccomp_filters:\t2$/m);
  });

  it("without the sandbox the work is the same, and the reason is told", async () => {
    const pool = open({ sandbox: "off" });
    assert.equal((await pool.render(picture, order({ format: "avif" }), options)).type, "image/avif");
    assert.deepEqual([pool.stats().sandbox, pool.stats().sandboxReason], ["none", "it is switched off"]);
  });

  it("where the sandbox hinders the work, decoders start again without it, and the reason is told", async () => {
    const pool = open({ size: 2, decoderFile: new URL("./hindered-decoder.ts", import.meta.url) });
    await pool.ready();
    const { sandbox, sandboxReason, crashes } = pool.stats();
    assert.deepEqual(
      { sandbox, sandboxReason, crashes },
      { sandbox: "none", sandboxReason: "no thread could be started", crashes: 0 },
    );
  });

  it("where the sandbox is required, no process without one gets a picture, and the reason is told", async () => {
    const clock = fakeClock();
    const pool = open({
      size: 1,
      clock,
      sandbox: "required",
      decoderFile: new URL("./hindered-decoder.ts", import.meta.url),
    });
    await assert.rejects(pool.ready(), { code: "NOT_READY", message: /no sandbox: no thread could be started/ });
    const { sandbox, sandboxReason } = pool.stats();
    assert.deepEqual({ sandbox, sandboxReason }, { sandbox: "none", sandboxReason: "no thread could be started" });
    const abort = new AbortController();
    const waiting = pool.inspect(picture, { ...options, signal: abort.signal });
    assert.deepEqual([pool.stats().busy, pool.stats().queued], [0, 1]);
    abort.abort(new Error("enough"));
    await assert.rejects(waiting, /enough/);
  });

  it("what is wrong with a picture comes as its code, and the process lives on", async () => {
    const pool = open();
    const rows: [string, Buffer, ErrorCode][] = [
      ["text named photo.jpg", Buffer.from("not a picture"), "UNSUPPORTED_IMAGE"],
      ["no bytes", Buffer.alloc(0), "UNSUPPORTED_IMAGE"],
      ["a truncated JPEG", picture.subarray(0, picture.length / 2), "BROKEN_IMAGE"],
      ["a bomb", pngBomb(20_000, 20_000), "TOO_MANY_PIXELS"],
    ];
    for (const [title, source, code] of rows) {
      assert.equal(await codeOf(pool.inspect(source, options)), code, title);
      assert.equal(await codeOf(pool.render(source, order(), options)), code, title);
    }
    const pid = onlyPid(pool);
    await pool.inspect(picture, options);
    assert.equal(onlyPid(pool), pid);
    const { crashes, restarts, renders, inspections } = pool.stats();
    assert.deepEqual(
      { crashes, restarts, renders, inspections },
      { crashes: 0, restarts: 0, renders: 0, inspections: 1 },
    );
  });

  it("a source beyond the bound never reaches a process", async () => {
    const pool = open({ limits: { sourceBytesMax: 100 } });
    assert.equal(await codeOf(pool.inspect(picture, options)), "BODY_TOO_LARGE");
  });

  it("a process is replaced after so many jobs", async () => {
    const pool = open({ limits: { jobsPerProcessMax: 2 } });
    const pids: number[] = [];
    for (let job = 0; job < 4; job += 1) {
      await pool.ready();
      pids.push(onlyPid(pool));
      await pool.inspect(picture, options);
    }
    assert.equal(pids[0], pids[1]);
    assert.equal(pids[2], pids[3]);
    assert.notEqual(pids[0], pids[2]);
    assert.deepEqual([pool.stats().restarts, pool.stats().crashes], [2, 0]);
    await until("the first process is gone", () => !isAlive(pids[0] ?? 0));
  });
});

describe("queue", () => {
  it("beyond the bound a job is refused at once, and an aborted one leaves", async () => {
    const { pool, pid } = await openStuck({ limits: { queueMax: 1 } });
    const abort = new AbortController();
    const running = pool.inspect(picture, options);
    const waiting = pool.inspect(picture, { ...options, signal: abort.signal });
    assert.deepEqual([pool.stats().busy, pool.stats().queued], [1, 1]);
    assert.equal(await codeOf(pool.inspect(picture, options)), "OVERLOADED");
    abort.abort();
    await assert.rejects(waiting, { name: "AbortError" });
    assert.deepEqual([pool.stats().queued, pool.stats().overloads], [0, 1]);
    await assert.rejects(pool.inspect(picture, { ...options, signal: abort.signal }), { name: "AbortError" });
    process.kill(pid, "SIGCONT");
    assert.equal((await running).type, "jpeg");
  });

  it("of the jobs that wait, the lowest rank goes first, and of equal ones the oldest", async () => {
    const { pool, pid } = await openStuck();
    const made: string[] = [];
    const jobs = ["first 9", "a 5", "b 1", "c 5", "d 1", "e 0"].map(async (name) => {
      await pool.measure(picture, { ...options, rank: Number(name.split(" ")[1]) });
      made.push(name);
    });
    process.kill(pid, "SIGCONT");
    await Promise.all(jobs);
    assert.deepEqual(made, ["first 9", "e 0", "b 1", "d 1", "a 5", "c 5"]);
  });

  it("a job waits only so long for a process", async () => {
    const { pool, clock, pid } = await openStuck({ limits: { queueWaitMs: 5000 } });
    const running = pool.inspect(picture, options);
    const waiting = codeOf(pool.inspect(picture, options));
    clock.advance(5000);
    assert.equal(await waiting, "OVERLOADED");
    process.kill(pid, "SIGCONT");
    await running;
    assert.equal(pool.stats().overloads, 1);
  });

  it("an aborted job that runs is stopped, and is over when its process is replaced", async () => {
    const { pool, pid } = await openStuck();
    const abort = new AbortController();
    const running = pool.render(picture, order(), { ...options, signal: abort.signal });
    let isOver = false;
    const over = assert.rejects(running, /the client left/).finally(() => {
      isOver = true;
    });
    abort.abort(new Error("the client left"));
    await until("the stopped process is gone", () => !isAlive(pid));
    assert(!isOver, "its successor is not ready yet");
    await over;
    assert.notEqual(onlyPid(pool), pid);
    await pool.inspect(picture, options);
    const { renders, inspections, crashes, restarts, stops } = pool.stats();
    assert.deepEqual(
      { renders, inspections, crashes, restarts, stops },
      { renders: 0, inspections: 1, crashes: 0, restarts: 1, stops: 1 },
    );
  });

  it("a stopped job is over at the latest when a process should have started", async () => {
    const { pool, clock } = await openStuck({ limits: { startTimeoutMs: 5000 } });
    const abort = new AbortController();
    const running = assert.rejects(pool.render(picture, order(), { ...options, signal: abort.signal }), /enough/);
    abort.abort(new Error("enough"));
    clock.advance(5000);
    await running;
  });

  it("a header is read without decoding the rest", async () => {
    const pool = open();
    const progressive = await noise(120, 80).jpeg({ progressive: true }).toBuffer();
    const facts = await pool.measure(progressive.subarray(0, progressive.length - 1000), options);
    assert.deepEqual(
      { ...facts, scans: 0 },
      { type: "jpeg", width: 120, height: 80, frames: 1, hasAlpha: false, scans: 0 },
    );
    assert(facts.scans !== undefined && facts.scans > 1);
    assert.equal(await codeOf(pool.measure(Buffer.from("no picture"), options)), "UNSUPPORTED_IMAGE");
    assert.deepEqual([pool.stats().measurements, pool.stats().inspections], [1, 0]);
  });
});

describe("harm stays with one picture", () => {
  it("a process that does not answer is killed at the deadline", async () => {
    const { pool, clock, pid } = await openStuck();
    const code = codeOf(pool.render(picture, order(), { ...options, timeoutMs: 3000 }));
    clock.advance(3000);
    assert.equal(pool.stats().timeouts, 0, "libvips gets a little longer to stop by itself");
    clock.advance(250);
    assert.equal(await code, "DECODER_TIMEOUT");
    await pool.inspect(picture, options);
    const { timeouts, restarts, crashes } = pool.stats();
    assert.deepEqual({ timeouts, restarts, crashes }, { timeouts: 1, restarts: 1, crashes: 0 });
    await until("the stuck process is gone", () => !isAlive(pid));
  });

  it("a picture that takes too long in earnest ends so too", async () => {
    const pool = open();
    const large = await noise(3000, 3000).jpeg().toBuffer();
    await pool.ready();
    const slow = { pixelsMax: 100_000_000, timeoutMs: 300 };
    assert.equal(await codeOf(pool.render(large, order({ format: "avif" }), slow)), "DECODER_TIMEOUT");
    await pool.inspect(picture, options);
    assert.equal(pool.stats().timeouts, 1);
  });

  it("a process over the memory ceiling is killed", async (t) => {
    if (!needs(t, process.platform === "linux", "resident memory is read from /proc")) return;
    const { pool, clock, pid } = await openStuck({ limits: { memoryBytesMax: 1_000_000 } });
    const code = codeOf(pool.render(picture, order(), options));
    clock.advance(50);
    assert.equal(await code, "DECODER_MEMORY");
    assert.deepEqual([pool.stats().memoryKills, pool.stats().restarts, pool.stats().crashes], [1, 1, 0]);
    await until("the process is gone", () => !isAlive(pid));
  });

  it("a picture that takes too much memory in earnest ends so too", async (t) => {
    if (!needs(t, process.platform === "linux", "resident memory is read from /proc")) return;
    const pool = open({ limits: { memoryBytesMax: 180_000_000 } });
    // Interlaced: all 243 MB of it must be held to give the first row.
    const large = await plain(9000, 9000, "#567").png({ progressive: true, compressionLevel: 1 }).toBuffer();
    await pool.ready();
    assert.equal(await codeOf(pool.render(large, order({ widthPx: 100 }), options)), "DECODER_MEMORY");
    assert.equal((await pool.inspect(picture, options)).type, "jpeg");
    assert.deepEqual([pool.stats().memoryKills, pool.stats().crashes], [1, 0]);
  });

  it("kill -9 in the midst of a picture fails that picture, and the next one is made", async (t) => {
    if (!needs(t, process.platform === "linux", "that it works is seen in /proc")) return;
    const pool = open();
    const large = await noise(2500, 2500).jpeg().toBuffer();
    await pool.ready();
    const pid = onlyPid(pool);
    const cpuTicks = (): number => Number(readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[11]);
    const ticksBefore = cpuTicks();
    const code = codeOf(pool.render(large, order({ format: "avif" }), options));
    await until("it is at work", () => cpuTicks() > ticksBefore + 30);
    process.kill(pid, "SIGKILL");
    assert.equal(await code, "DECODER_CRASHED");
    assert.equal((await pool.render(picture, order(), options)).type, "image/jpeg");
    assert.deepEqual([pool.stats().crashes, pool.stats().restarts, pool.stats().renders], [1, 1, 1]);
  });

  it("a job whose process died before it looked at the picture goes to another, once", async () => {
    const { pool, pid } = await openStuck();
    const facts = pool.inspect(picture, options);
    process.kill(pid, "SIGKILL");
    assert.equal((await facts).type, "jpeg");
    assert.deepEqual([pool.stats().crashes, pool.stats().restarts, pool.stats().inspections], [1, 1, 1]);
  });

  it("an idle process that dies is replaced", async () => {
    const pool = open();
    await pool.ready();
    const pid = onlyPid(pool);
    process.kill(pid, "SIGKILL");
    await until("another took its place", () => onlyPid(pool) !== pid);
    await pool.inspect(picture, options);
    assert.deepEqual([pool.stats().crashes, pool.stats().restarts], [1, 1]);
  });

  it("Ctrl-C of the terminal, which reaches the whole group, ends no decoder", async () => {
    const pool = open();
    await pool.ready();
    const pid = onlyPid(pool);
    process.kill(pid, "SIGINT");
    process.kill(pid, "SIGTERM");
    await pool.inspect(picture, options);
    assert.equal(onlyPid(pool), pid);
  });
});

describe("a decoder that was taken over", () => {
  const acts = [
    "dies of SIGSEGV",
    "answers another job",
    "sends HTML as a picture",
    "sends facts with a body",
    "names a type that is none",
    "becomes ready again",
    "writes text",
    "announces 4 GiB",
    "sends null",
  ];
  for (const [index, act] of acts.entries()) {
    it(`one that ${act} costs its job only`, async () => {
      const pool = open({ decoderFile: hostile });
      await pool.ready();
      const pid = onlyPid(pool);
      const job = { pixelsMax: index + 1, timeoutMs: 60_000 };
      const work = index === 2 ? pool.render(picture, order(), job) : pool.inspect(picture, job);
      assert.equal(await codeOf(work), "DECODER_CRASHED");
      assert.deepEqual([pool.stats().crashes, pool.stats().restarts, pool.stats().busy], [1, 1, 0]);
      await until("it is gone", () => !isAlive(pid));
    });
  }
});

describe("start and end", () => {
  it("processes that can't start are tried again with pauses, and nobody waits forever", async () => {
    const clock = fakeClock();
    const pool = open({ clock, decoderFile: new URL("./not-there.ts", import.meta.url) });
    const ready = codeOf(pool.ready());
    const work = codeOf(pool.inspect(picture, options));
    for (let crashes = 1; crashes <= 4; crashes += 1) {
      await until(`failed start ${crashes}`, () => pool.stats().crashes === crashes);
      assert.deepEqual(pool.stats().pids, [], "it pauses");
      clock.advance(100 * 2 ** crashes);
    }
    clock.advance(15_000);
    assert.equal(await ready, "NOT_READY");
    assert.equal(await work, "OVERLOADED");
    assert.equal(pool.stats().sandbox, "starting");
  });

  it("a process that does not become ready in time is killed", async () => {
    const clock = fakeClock();
    const pool = open({ clock });
    const pid = onlyPid(pool);
    process.kill(pid, "SIGSTOP");
    clock.advance(15_000);
    await until("it is gone", () => !isAlive(pid));
    await until("it is counted", () => pool.stats().crashes === 1);
  });

  it("close() lets a running job finish, drops what waits, and takes nothing new", async () => {
    const { pool, pid } = await openStuck();
    const running = pool.inspect(picture, options);
    const waiting = codeOf(pool.inspect(picture, options));
    const closed = pool.close();
    assert.equal(await waiting, "NOT_READY");
    assert.equal(await codeOf(pool.inspect(picture, options)), "NOT_READY");
    process.kill(pid, "SIGCONT");
    assert.equal((await running).type, "jpeg");
    await closed;
    assert(!isAlive(pid));
    assert.deepEqual([pool.stats().crashes, pool.stats().restarts, pool.stats().pids], [0, 0, []]);
    await pool.close();
  });

  it("close() kills what does not finish in time", async () => {
    const { pool, clock, pid } = await openStuck();
    const running = codeOf(pool.inspect(picture, options));
    const closed = pool.close({ graceMs: 500 });
    clock.advance(500);
    await closed;
    assert.equal(await running, "NOT_READY");
    assert(!isAlive(pid));
  });

  it("a pool that is closed while it starts leaves nothing behind", async () => {
    const pool = open({ size: 2 });
    const { pids } = pool.stats();
    await pool.close({ graceMs: 5000 });
    assert.deepEqual(pids.filter(isAlive), []);
  });

  it("decoders die with a parent that was killed", async () => {
    const script = fileURLToPath(new URL("./orphans.ts", import.meta.url));
    const parent = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
    after(() => parent.kill("SIGKILL"));
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const pids = JSON.parse(line.toString()) as number[];
    assert.equal(pids.length, 2);
    parent.kill("SIGKILL");
    await until("both are gone", () => !pids.some(isAlive));
  });
});

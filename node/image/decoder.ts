/**
 * A decoder process: takes one picture after the other from standard input, answers on standard output (frame.ts,
 * messages.ts). The pool starts it and kills it when it takes too long or too much.
 *
 * It trusts its parent and nothing else. It ends when standard input does, so none outlives its parent.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { getPriority, setPriority } from "node:os";
import sharp from "sharp";
import { frameHead, readFrames, type Frame } from "./frame.ts";
import { headerBytesMax, readJob, type Job, type Reply } from "./messages.ts";
import { inspectPicture, measurePicture, renderPicture } from "./pipeline.ts";
import { PictureFailure } from "./picture-failure.ts";
import { enterSandbox } from "./sandbox.ts";

/** Serving what is cached comes before rendering what is not. */
const niceness = 5;

/** All other loaders of libvips are blocked, so that no picture reaches a rarely used parser. */
const loaders = [
  "VipsForeignLoadJpegBuffer",
  "VipsForeignLoadPngBuffer",
  "VipsForeignLoadWebpBuffer",
  "VipsForeignLoadNsgifBuffer",
  "VipsForeignLoadHeifBuffer",
];

function send(reply: Reply, body?: Buffer): void {
  process.stdout.write(frameHead(reply, body?.length ?? 0));
  if (body !== undefined) process.stdout.write(body);
}

async function work(job: Job, source: Buffer): Promise<void> {
  const { id, kind, order, pixelsMax, timeoutSeconds } = job;
  send({ outcome: "taken", id });
  try {
    if (kind === "render") {
      assert(order !== undefined, "a job to render has an order");
      const { body, type, width, height } = await renderPicture(source, order, { pixelsMax, timeoutSeconds });
      send({ outcome: "picture", id, type, width, height }, body);
    } else {
      const look = kind === "inspect" ? inspectPicture(source, { pixelsMax, timeoutSeconds }) : measurePicture(source);
      const { scans = 1, ...facts } = await look;
      send({ outcome: "facts", id, ...facts, scans });
    }
  } catch (error) {
    if (!(error instanceof PictureFailure)) throw error; // a bug here: the pool sees this process end
    send({ outcome: "failed", id, code: error.code, detail: error.message.slice(0, 500) });
  }
}

/** Makes and reads a small picture of each type, inside of the sandbox. What went wrong, or undefined. */
async function tryAll(): Promise<string | undefined> {
  const bounds = { pixelsMax: 10_000, timeoutSeconds: 10 };
  try {
    const create = { width: 64, height: 48, channels: 3 as const, background: "#6a8" };
    const seed = await sharp({ create }).png().toBuffer();
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const order = { widthPx: 32, fit: "clip" as const, quality: 75, format };
      const { body } = await renderPicture(seed, order, bounds);
      await inspectPicture(body, bounds);
    }
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 500) : "something was thrown";
  }
}

const switchedOff = { sandbox: "none", reason: "it is switched off" } as const;

async function main(sandboxMode: string | undefined, memoryBytesMax: string | undefined): Promise<void> {
  // A terminal's Ctrl-C goes to the whole process group; the parent decides when its decoders end.
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  // A parent that died leaves a broken pipe; the end of standard input follows.
  process.stdout.on("error", () => undefined);
  // A service with a higher niceness keeps its own: nobody but root may lower it.
  setPriority(Math.max(niceness, getPriority()));
  try {
    // When the machine runs out of memory, the kernel shall take a decoder first, not the server.
    writeFileSync("/proc/self/oom_score_adj", "500");
  } catch {
    // Not Linux, or not allowed: then it chooses by size.
  }

  sharp.cache(false); // no two jobs read the same bytes
  sharp.concurrency(1); // the pool's size is the parallelism
  sharp.block({ operation: ["VipsForeignLoad"] });
  sharp.unblock({ operation: loaders });

  // Both streams are set up before the sandbox closes; the pool writes nothing before it reads "ready".
  const limits = { headerBytesMax, bodyBytesMax: 0xffff_ffff };
  const read = readFrames(limits, (frame: Frame) => {
    void work(readJob(frame.header), frame.body);
  });
  process.stdin.on("data", read);

  const report = sandboxMode === "auto" ? await enterSandbox(Number(memoryBytesMax)) : switchedOff;
  const flaw = report.sandbox === "none" ? undefined : await tryAll();
  if (flaw === undefined) send({ outcome: "ready", ...report });
  else send({ outcome: "ready", sandbox: "broken", reason: flaw });
}

await main(process.argv[2], process.argv[3]);

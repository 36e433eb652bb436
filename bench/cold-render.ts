/**
 * What does the first request for a picture cost? Distinct variants of one photograph of 12 megapixels, 800 px wide, as
 * JPEG, WebP and AVIF: one at a time, and as many as keep both decoders busy. For comparison, the same pipeline runs in
 * this process, without HTTP, cache or decoder processes: the difference is the price of isolation.
 */
import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import sharp from "sharp";
import { renderPicture } from "#image/pipeline.ts";
import { digits, median, quantile, type Report } from "./lab/figures.ts";
import { startImagePeers } from "./lab/image-peers.ts";
import type { Lab } from "./lab/lab.ts";
import { startNearcast } from "./lab/nearcast.ts";
import { photograph } from "./lab/photograph.ts";

export const coldFormats = ["jpg", "webp", "avif"] as const;
export type ColdFormat = (typeof coldFormats)[number];

export const coldSource = "cold.jpg";
const size = { width: 4000, height: 3000 };
const widthPx = 800;
const quality = 75;
/** AVIF is slow: a round must be long enough for several pictures. */
const roundsMax = 3;

/** A variant that nobody requested before, but the same work: with w=800, any h from 600 px up changes nothing. */
export function coldPath(format: ColdFormat, index: number): string {
  return `/${coldSource}?w=${widthPx}&h=${601 + (index % 7500)}&fit=clip&fm=${format}`;
}

interface Renderer {
  name: string;
  render: (format: ColdFormat, index: number) => Promise<Buffer>;
  cpuMs: () => number;
}

interface Measured {
  /** Time of each picture, one at a time. */
  timesMs: number[];
  /** Rate of each round, two pictures at a time. */
  perSecond: number[];
  cpuMs: number[];
}

export async function measureColdRender(lab: Lab): Promise<Report> {
  const source = await photograph(size.width, size.height);
  const nearcast = await startNearcast(lab, { pin: "none", edge: () => ({ decoders: { processes: 2 } }) });
  await nearcast.put(coldSource, source);
  const peers = await startImagePeers(lab, coldSource, source);
  const renderers: Renderer[] = [
    {
      name: "nearcast",
      render: (format, index) => fetchPicture(nearcast.url + coldPath(format, index)),
      cpuMs: () => nearcast.edge.cpuMs(),
    },
    {
      name: "sharp, called directly",
      render: renderHere(source),
      cpuMs: () => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000,
    },
    ...peers.started.map(({ name, program, urlOf }) => ({
      name,
      render: (format: ColdFormat, index: number) => fetchPicture(urlOf(format, index)),
      cpuMs: () => program.cpuMs(),
    })),
  ];

  const measured = new Map<string, Measured>();
  const of = (format: ColdFormat, name: string): Measured => {
    const key = `${format} ${name}`;
    const found = measured.get(key) ?? { timesMs: [], perSecond: [], cpuMs: [] };
    measured.set(key, found);
    return found;
  };
  let index = 0;
  for (const format of coldFormats) {
    for (const { name, render } of renderers) {
      const { width, format: made } = await sharp(await render(format, index++)).metadata();
      const expected = { jpg: "jpeg", webp: "webp", avif: "heif" }[format];
      assert.ok(width === widthPx && made === expected, `${name} made a picture of ${width} px in ${made}`);
    }
    for (let round = 0; round < Math.min(lab.rounds, roundsMax); round += 1) {
      for (const { name, render, cpuMs } of renderers) {
        const cell = of(format, name);
        await renderFor(lab.seconds, 1, async () => {
          const beganMs = performance.now();
          await render(format, index++);
          cell.timesMs.push(performance.now() - beganMs);
        });
        const cpuBeforeMs = cpuMs();
        const beganMs = performance.now();
        const pictures = await renderFor(lab.seconds, 2, async () => void (await render(format, index++)));
        cell.perSecond.push((pictures * 1000) / (performance.now() - beganMs));
        cell.cpuMs.push((cpuMs() - cpuBeforeMs) / pictures);
      }
    }
  }
  await nearcast.stop();
  for (const { program } of peers.started) await program.stop();
  return {
    question: "cold-render",
    tables: [
      {
        title: `Cold picture: JPEG of 12 megapixels (${digits(source.length / 1e6)} MB) to ${widthPx} px`,
        columns: ["format, server", "p50 ms", "p99 ms", "of pictures", "pictures/s, two at a time", "CPU ms/picture"],
        rows: coldFormats.flatMap((format) =>
          renderers.map(({ name }) => {
            const { timesMs, perSecond, cpuMs } = of(format, name);
            const times = [digits(median(timesMs)), digits(quantile(timesMs, 0.99)), String(timesMs.length)];
            return [`${format}, ${name}`, ...times, digits(median(perSecond)), digits(median(cpuMs))];
          }),
        ),
      },
    ],
    notes: [
      `p50 and p99: one picture at a time, from request to last byte; two decoders, ${availableParallelism()} cores`,
      `libvips ${sharp.versions.vips}, one thread a picture, quality ${quality}`,
      "nearcast's CPU time includes HTTP, reading and checking the source, the decoder and writing the result",
    ],
    absent: peers.absent,
    samples: Object.fromEntries(measured),
  };
}

/** Keeps `parallel` renderings running until the time is up; returns how many were completed. */
async function renderFor(seconds: number, parallel: number, renderOne: () => Promise<void>): Promise<number> {
  const endMs = performance.now() + seconds * 1000;
  let pictures = 0;
  async function work(): Promise<void> {
    while (performance.now() < endMs) {
      await renderOne();
      pictures += 1;
    }
  }
  await Promise.all(Array.from({ length: parallel }, work));
  return pictures;
}

async function fetchPicture(url: string): Promise<Buffer> {
  const answer = await fetch(url);
  const body = Buffer.from(await answer.arrayBuffer());
  assert.equal(answer.status, 200, `${url}: ${body.subarray(0, 200).toString()}`);
  return body;
}

/** Runs the decoders' pipeline in this process, with the same settings. */
function renderHere(source: Buffer): Renderer["render"] {
  sharp.cache(false);
  sharp.concurrency(1);
  const formats = { jpg: "jpeg", webp: "webp", avif: "avif" } as const;
  return async (format) => {
    const order = { widthPx, fit: "clip", quality, format: formats[format] } as const;
    const { body } = await renderPicture(source, order, { pixelsMax: 100_000_000, timeoutSeconds: 15 });
    return body;
  };
}

/**
 * What a rendering will cost, before it begins: from what the origin recorded of the source at its upload, or its
 * header says, and from the order. The queue of renderings is shared fairly by this (fair-queue.ts).
 *
 * The unit is the decoder millisecond: a decoder process is busy for so long, alone on a core of the machine on which
 * the figures were measured. Other machines are faster or slower, and noise costs more than sky: what renderings took
 * in the end corrects the estimates that follow, for each format of results apart.
 *
 * The figures: a photograph of 4000 × 3000 px with grain, on one core of a shared virtual machine (2 cores, 2.x GHz),
 * in CPU ms. Decoding alone, to a few px:
 *
 *   JPEG 40–95   progressive JPEG, 10 scans 143–174   PNG 157   WebP 261–441   AVIF 1390–1716
 *   GIF, 20 frames of 480 × 360 px: 70
 *
 * With the result (px of its width: ms), from the JPEG:
 *
 *   JPEG 400: 74, 800: 110, 1600: 255, 3200: 626     PNG  800: 95, 1600: 305, 3200: 1223, 8192: 12,665
 *   WebP 400: 67, 800: 140, 1600: 416, 3200: 1308    AVIF 400: 314, 800: 855, 1600: 1651, 3200: 5331
 *   GIF  20 × 240: 1297, 20 × 480: 2114
 *
 * Pure.
 */
import { layoutOf } from "./geometry.ts";
import { outputFormatOf, outputFramesOf } from "./output-format.ts";
import type { PictureFacts, PictureType } from "#base/picture-facts.ts";
import type { RenderOrder } from "./picture.ts";

export interface RenderCost {
  /** To read the source. */
  readonly decodeMs: number;
  /** To make the result of it. */
  readonly encodeMs: number;
  /** Both, corrected by what renderings took. */
  readonly totalMs: number;
  readonly format: PictureType;
}

/** Starting the pipeline, and the way to the process and back. */
const fixedMs = 10;
/** Decoder ms for each million pixels of all frames that are decoded. */
const decodeMsPerMegapixel = { jpeg: 7, png: 13, webp: 30, avif: 140, gif: 20 } as const satisfies Record<
  PictureType,
  number
>;
/** For each million pixels and each scan of a JPEG after the first. */
const scanMsPerMegapixel = 0.8;
/** Of a JPEG of which nothing is recorded: as many as progressive files usually have. */
const scansUsual = 10;
/**
 * Decoder ms for each million pixels of all frames of the result: scaling and encoding. AVIF takes 250 to 800, more for
 * grain than for anything else.
 */
const encodeMsPerMegapixel = { jpeg: 80, png: 180, webp: 180, avif: 450, gif: 800 } as const satisfies Record<
  PictureType,
  number
>;
/** An AVIF encoder takes so long for the smallest picture. */
const avifFixedMs = 100;

/** @param corrections what renderings of each format took, compared with their estimates */
export function estimateCost(source: PictureFacts, order: RenderOrder, corrections?: CostCorrections): RenderCost {
  const { size } = layoutOf(source, order);
  const format = outputFormatOf(source, order, size);
  const frames = outputFramesOf(source, format);
  const sourceMegapixels = (source.width * source.height * frames) / 1e6;
  const resultMegapixels = (size.width * size.height * frames) / 1e6;
  const moreScans = source.type === "jpeg" ? (source.scans ?? scansUsual) - 1 : 0;
  const decodeMs = sourceMegapixels * (decodeMsPerMegapixel[source.type] + scanMsPerMegapixel * moreScans);
  const encodeMs = resultMegapixels * encodeMsPerMegapixel[format] + (format === "avif" ? avifFixedMs : 0);
  const factor = corrections === undefined ? 1 : correctionOf(corrections, format);
  return { decodeMs, encodeMs, totalMs: factor * (fixedMs + decodeMs + encodeMs), format };
}

/** What reading a header costs: some ms, and the source's way to the process. */
export const measureCostMs = 20;

/** Sums over recent renderings, for each format of results: older ones count less and less. */
export type CostCorrections = Map<PictureType, { estimatedMs: number; measuredMs: number }>;

/** Of the sums, at each further rendering: some fifty renderings make the factor. */
const memoryShare = 0.98;
/** The estimate itself counts like this much work, so that the first renderings of a node do not decide. */
const trustInEstimatesMs = 5000;
/** Beyond these something else is wrong, such as a machine that swaps. */
const factorMin = 0.2;
const factorMax = 5;

export function createCorrections(): CostCorrections {
  return new Map();
}

/** Learns what a rendering took, for which estimateCost() said `cost`. */
export function learnCost(corrections: CostCorrections, cost: RenderCost, measuredMs: number): void {
  const sums = corrections.get(cost.format) ?? { estimatedMs: 0, measuredMs: 0 };
  sums.estimatedMs = sums.estimatedMs * memoryShare + fixedMs + cost.decodeMs + cost.encodeMs;
  sums.measuredMs = sums.measuredMs * memoryShare + measuredMs;
  corrections.set(cost.format, sums);
}

function correctionOf(corrections: CostCorrections, format: PictureType): number {
  const { estimatedMs, measuredMs } = corrections.get(format) ?? { estimatedMs: 0, measuredMs: 0 };
  const factor = (measuredMs + trustInEstimatesMs) / (estimatedMs + trustInEstimatesMs);
  return Math.min(factorMax, Math.max(factorMin, factor));
}

/**
 * Whether a rendering that took too long, or too much memory, says something of its source: not if the order is what
 * makes it costly, so that nobody can bring a picture into disrepute by asking for its largest variant.
 */
export function isBlamedOnSource({ decodeMs, encodeMs }: RenderCost, timeoutMs: number): boolean {
  return decodeMs >= encodeMs || encodeMs < timeoutMs / 4;
}

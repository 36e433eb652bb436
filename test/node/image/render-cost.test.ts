import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PictureFacts } from "../../../node/base/picture-facts.ts";
import { createCorrections, estimateCost, isBlamedOnSource, learnCost } from "../../../node/image/render-cost.ts";
import { order } from "./pictures.ts";

const photograph: PictureFacts = { type: "jpeg", width: 4000, height: 3000, frames: 1, hasAlpha: false, scans: 1 };
const noEnd = { enlargementMax: 10, outputPixelsMax: 67_108_864 };

describe("the estimate", () => {
  /** What was measured when the figures were taken, in ms; within a factor of two and a half. */
  const rows: [source: Partial<PictureFacts>, wish: Parameters<typeof order>[0], measuredMs: number][] = [
    [{}, { widthPx: 400, format: "jpeg" }, 74],
    [{}, { widthPx: 1600, format: "jpeg" }, 255],
    [{ scans: 10 }, { widthPx: 800, format: "jpeg" }, 203],
    [{ type: "png" }, { widthPx: 1600, format: "jpeg" }, 329],
    [{ type: "webp" }, { widthPx: 800, format: "jpeg" }, 394],
    [{ type: "avif" }, { widthPx: 800, format: "jpeg" }, 1834],
    [{}, { widthPx: 3200, format: "png" }, 1223],
    [{}, { widthPx: 8192, format: "png", ...noEnd }, 12_665],
    [{}, { widthPx: 1600, format: "webp" }, 416],
    [{}, { widthPx: 800, format: "avif" }, 855],
    [{}, { widthPx: 3200, format: "avif" }, 5331],
    [{ type: "gif", width: 480, height: 360, frames: 20 }, { widthPx: 240, format: "source" }, 1297],
    [{ type: "gif", width: 480, height: 360, frames: 20 }, { widthPx: 240, format: "jpeg" }, 19],
  ];
  for (const [source, wish, measuredMs] of rows) {
    it(`${JSON.stringify(source)} ${JSON.stringify(wish)}: about ${measuredMs} ms`, () => {
      const { totalMs } = estimateCost({ ...photograph, ...source }, order(wish));
      assert(totalMs > measuredMs / 2.5 && totalMs < measuredMs * 2.5, String(totalMs));
    });
  }

  it("scans of a JPEG make it costlier; without a record it counts as progressive", () => {
    const costOf = (scans?: number): number => {
      const { scans: _, ...unknown } = photograph;
      return estimateCost(scans === undefined ? unknown : { ...photograph, scans }, order({ widthPx: 100 })).totalMs;
    };
    assert(costOf(1) < costOf(10) && costOf(10) < costOf(100));
    assert.equal(costOf(), costOf(10));
  });

  it("is corrected by what renderings of the same format took, within bounds", () => {
    const corrections = createCorrections();
    const wish = order({ widthPx: 1600, format: "webp" });
    const first = estimateCost(photograph, wish, corrections);
    for (let count = 0; count < 200; count += 1) learnCost(corrections, first, 3 * first.totalMs);
    const slower = estimateCost(photograph, wish, corrections).totalMs / first.totalMs;
    assert(slower > 2 && slower < 3.01, String(slower));
    const other = order({ widthPx: 1600, format: "png" });
    assert.equal(estimateCost(photograph, other, corrections).totalMs, estimateCost(photograph, other).totalMs);
    for (let count = 0; count < 2000; count += 1) learnCost(corrections, first, 1e6);
    assert.equal(Math.round(estimateCost(photograph, wish, corrections).totalMs / first.totalMs), 5);
  });
});

it("a source is to blame unless it is the order that makes the cost", () => {
  const cost = (source: Partial<PictureFacts>, wish: Parameters<typeof order>[0]) =>
    estimateCost({ ...photograph, ...source }, order(wish));
  const timeoutMs = 15_000;
  assert(isBlamedOnSource(cost({}, { widthPx: 400 }), timeoutMs), "a small result should have been quick");
  assert(isBlamedOnSource(cost({ width: 10_000, height: 10_000, scans: 1000 }, { widthPx: 8000 }), timeoutMs));
  assert(!isBlamedOnSource(cost({}, { widthPx: 8192, format: "avif", ...noEnd }), timeoutMs));
});

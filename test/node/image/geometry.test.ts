import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../../node/base/random.ts";
import { layoutOf, sidePxMax } from "../../../node/image/geometry.ts";
import { fits, type RenderOrder } from "../../../node/image/picture.ts";
import { order } from "./pictures.ts";

type Row = [source: string, wish: Partial<RenderOrder>, size: string, manner: string];

function sizeOf(text: string): { width: number; height: number } {
  const [width = 0, height = 0] = text.split("x").map(Number);
  return { width, height };
}

/** What the bounds of an order leave to sidePxMax alone. */
const unbounded = { enlargementMax: 1e6, outputPixelsMax: sidePxMax * sidePxMax };

describe("imgix's fit modes", () => {
  const both = { widthPx: 100, heightPx: 100 };
  const large = { widthPx: 600, heightPx: 600 };
  const rows: Row[] = [
    ["300x200", {}, "300x200", "stretch"],
    ["300x200", { widthPx: 150 }, "150x100", "stretch"],
    ["300x200", { heightPx: 50 }, "75x50", "stretch"],
    ["300x200", { widthPx: 600 }, "600x400", "stretch"],
    ["300x200", { widthPx: 600, fit: "max" }, "300x200", "stretch"],
    ["300x200", { heightPx: 600, fit: "min" }, "300x200", "stretch"],
    ["300x200", { widthPx: 100, fit: "max" }, "100x67", "stretch"],
    ["300x200", { ...both, fit: "clip" }, "100x67", "stretch"],
    ["300x200", { ...both, fit: "max" }, "100x67", "stretch"],
    ["300x200", { ...both, fit: "crop" }, "100x100", "cover"],
    ["300x200", { ...both, fit: "min" }, "100x100", "cover"],
    ["300x200", { ...both, fit: "fill" }, "100x100", "inside"],
    ["300x200", { ...both, fit: "scale" }, "100x100", "stretch"],
    ["300x200", { ...large, fit: "clip" }, "600x400", "stretch"],
    ["300x200", { ...large, fit: "max" }, "300x200", "stretch"],
    ["300x200", { ...large, fit: "crop" }, "600x600", "cover"],
    ["300x200", { ...large, fit: "min" }, "200x200", "cover"],
    ["300x200", { ...large, fit: "fill" }, "600x600", "inside"],
    ["300x200", { ...large, fit: "scale" }, "600x600", "stretch"],
    ["300x200", { widthPx: 100, heightPx: 400, fit: "min" }, "50x200", "cover"],
    ["300x200", { widthFraction: 0.5 }, "150x100", "stretch"],
    ["300x200", { widthFraction: 0.5, heightFraction: 0.25, fit: "crop" }, "150x50", "cover"],
    ["300x200", { widthFraction: 2 }, "600x400", "stretch"],
    ["300x200", { heightFraction: 0.0001 }, "2x1", "stretch"],
    ["1x10000", { widthPx: 8192 }, "1x8192", "stretch"],
    ["12000x9000", {}, "8192x6144", "stretch"],
    ["20000x1", { heightPx: 1 }, "8192x1", "stretch"],
    ["3000x3000", { widthFraction: 5, heightFraction: 5, fit: "scale" }, "8192x8192", "stretch"],
  ];
  for (const [source, wish, size, manner] of rows) {
    it(`${source} ${JSON.stringify(wish)} → ${size}, ${manner}`, () => {
      assert.deepEqual(layoutOf(sizeOf(source), order({ ...unbounded, ...wish })), { size: sizeOf(size), manner });
    });
  }
});

it("no order makes a side below 1 or above the bound, and only scale changes proportions (seeded)", () => {
  const seed = 7;
  const random = seededRandom(seed);
  const whole = (max: number): number => 1 + Math.floor(random() * max);
  for (let round = 0; round < 20_000; round += 1) {
    const source = { width: whole(20_000), height: whole(20_000) };
    const wish: Partial<RenderOrder> = {
      fit: fits[whole(fits.length) - 1] ?? "clip",
      ...(random() < 0.4 ? { widthPx: whole(8192) } : random() < 0.5 ? { widthFraction: random() * 5 } : {}),
      ...(random() < 0.4 ? { heightPx: whole(8192) } : random() < 0.5 ? { heightFraction: random() * 5 } : {}),
    };
    const shown = `seed ${seed}: ${JSON.stringify({ source, wish })}`;
    const { size, manner } = layoutOf(source, order({ ...unbounded, ...wish }));
    for (const side of [size.width, size.height]) {
      assert(Number.isInteger(side) && side >= 1 && side <= sidePxMax, shown);
    }
    if (manner === "stretch" && wish.fit !== "scale") {
      // One factor explains both sides, each within its rounding; a side of 1 may have been less.
      const least = (px: number, sourcePx: number): number => (px === 1 ? 0 : (px - 0.501) / sourcePx);
      const lower = Math.max(least(size.width, source.width), least(size.height, source.height));
      const upper = Math.min((size.width + 0.501) / source.width, (size.height + 0.501) / source.height);
      assert(lower <= upper, shown);
    }
    if (wish.fit === "max" || wish.fit === "min")
      assert(size.width <= source.width && size.height <= source.height, shown);
  }
});

describe("bounds of an order", () => {
  const large = { widthPx: 600, heightPx: 600 };
  const rows: Row[] = [
    ["300x200", { widthPx: 600 }, "300x200", "stretch"],
    ["300x200", { widthPx: 600, enlargementMax: 1.5 }, "450x300", "stretch"],
    ["300x200", { widthFraction: 5, enlargementMax: 2 }, "600x400", "stretch"],
    ["300x200", { ...large, fit: "clip" }, "300x200", "stretch"],
    ["300x200", { ...large, fit: "crop" }, "200x200", "cover"],
    ["300x200", { ...large, fit: "crop", enlargementMax: 2 }, "400x400", "cover"],
    // The picture grows no more than it may, and the padding shrinks with it.
    ["300x200", { ...large, fit: "fill" }, "300x300", "inside"],
    ["300x200", { ...large, fit: "scale" }, "200x200", "stretch"],
    ["300x200", { widthPx: 100, enlargementMax: 2 }, "100x67", "stretch"],
    ["8000x6000", { outputPixelsMax: 12_000_000 }, "4000x3000", "stretch"],
    ["12000x9000", {}, "6688x5017", "stretch"],
    ["20000x2", { outputPixelsMax: 1024 }, "1024x1", "stretch"],
  ];
  for (const [source, wish, size, manner] of rows) {
    it(`${source} ${JSON.stringify(wish)} → ${size}, ${manner}`, () => {
      assert.deepEqual(layoutOf(sizeOf(source), order(wish)), { size: sizeOf(size), manner });
    });
  }
});

it("no result has more pixels, or a picture enlarged more, than its order allows (seeded)", () => {
  const seed = 11;
  const random = seededRandom(seed);
  const whole = (max: number): number => 1 + Math.floor(random() * max);
  for (let round = 0; round < 20_000; round += 1) {
    const source = { width: whole(20_000), height: whole(20_000) };
    const bounds = { enlargementMax: 1 + random() * 3, outputPixelsMax: 1024 + whole(30_000_000) };
    const wish: Partial<RenderOrder> = {
      ...bounds,
      fit: fits[whole(fits.length) - 1] ?? "clip",
      ...(random() < 0.5 ? { widthPx: whole(8192) } : {}),
      ...(random() < 0.5 ? { heightPx: whole(8192) } : {}),
    };
    const shown = `seed ${seed}: ${JSON.stringify({ source, wish })}`;
    const { size, manner } = layoutOf(source, order(wish));
    assert(size.width >= 1 && size.height >= 1 && size.width * size.height <= bounds.outputPixelsMax, shown);
    const grown = [(size.width - 0.501) / source.width, (size.height - 0.501) / source.height];
    const factor = manner === "inside" ? Math.min(...grown) : Math.max(...grown);
    assert(factor <= bounds.enlargementMax, shown);
  }
});

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import sharp from "sharp";
import { PictureFailure, type PictureFailureCode } from "../../../node/image/picture-failure.ts";
import type { PictureType } from "../../../node/base/picture-facts.ts";
import { fits, type RenderOrder } from "../../../node/image/picture.ts";
import { inspectPicture, renderPicture } from "../../../node/image/pipeline.ts";
import { animation, bounds, colourAt, isNear, noise, order, plain, pngBomb, quarters } from "./pictures.ts";

async function failureOf(work: Promise<unknown>): Promise<PictureFailureCode> {
  try {
    await work;
  } catch (error) {
    assert(error instanceof PictureFailure, String(error));
    return error.code;
  }
  return assert.fail("nothing was thrown");
}

const red = [255, 0, 0];
const white = [255, 255, 255];

describe("orientation and size", () => {
  for (let orientation = 1; orientation <= 8; orientation += 1) {
    it(`EXIF orientation ${orientation} is applied and gone`, async () => {
      // Turned away by sharp first, so that the orientation turns it back.
      const upright = await quarters();
      const undo = {
        1: [0],
        2: [0, "flop"],
        3: [180],
        4: [0, "flip"],
        5: [90, "flop"],
        6: [270],
        7: [270, "flop"],
        8: [90],
      };
      const [angle, mirror] = undo[orientation as keyof typeof undo];
      let turned = await sharp(upright).rotate(Number(angle)).png().toBuffer();
      if (mirror === "flop") turned = await sharp(turned).flop().png().toBuffer();
      if (mirror === "flip") turned = await sharp(turned).flip().png().toBuffer();
      const source = await sharp(turned).withMetadata({ orientation }).jpeg({ quality: 95 }).toBuffer();

      const facts = await inspectPicture(source, bounds);
      assert.deepEqual([facts.width, facts.height], [60, 40]);
      const { body, width, height } = await renderPicture(source, order({ widthPx: 30, format: "png" }), bounds);
      assert.deepEqual([width, height], [30, 20]);
      const metadata = await sharp(body).metadata();
      assert.equal(metadata.orientation, undefined);
      assert(isNear(await colourAt(body, 5, 4), red, 40), `top left is ${String(await colourAt(body, 5, 4))}`);
      assert(isNear(await colourAt(body, 25, 4), [0, 255, 0], 40), "top right");
      assert(isNear(await colourAt(body, 5, 15), [0, 0, 255], 40), "bottom left");
    });
  }

  const sizes: Record<(typeof fits)[number], string> = {
    clip: "50x33",
    crop: "50x50",
    fill: "50x50",
    max: "50x33",
    min: "50x50",
    scale: "50x50",
  };
  for (const fit of fits) {
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      it(`fit=${fit} as ${format} is ${sizes[fit]}`, async () => {
        const source = await noise(150, 100).jpeg().toBuffer();
        const rendered = await renderPicture(source, order({ widthPx: 50, heightPx: 50, fit, format }), bounds);
        const { width, height, format: seen } = await sharp(rendered.body).metadata();
        assert.equal(`${width}x${height}`, sizes[fit]);
        assert.equal(`${rendered.width}x${rendered.height}`, sizes[fit]);
        assert.equal(rendered.type, format);
        assert.equal(seen, format === "avif" ? "heif" : format);
      });
    }
  }

  it("crop takes the middle, scale squeezes all of it", async () => {
    const source = await quarters();
    const box = { widthPx: 20, heightPx: 40 };
    const cropped = (await renderPicture(source, order({ ...box, fit: "crop" }), bounds)).body;
    const squeezed = (await renderPicture(source, order({ ...box, fit: "scale" }), bounds)).body;
    const seen = async (picture: Buffer, left: number, top: number): Promise<number[]> =>
      (await colourAt(picture, left, top)).slice(0, 3);
    assert.deepEqual(await seen(cropped, 4, 10), red);
    assert.deepEqual(await seen(cropped, 15, 10), [0, 255, 0]);
    assert.deepEqual(await seen(squeezed, 1, 1), red);
    assert.deepEqual(await seen(squeezed, 18, 38), white);
  });

  it("a picture of one pixel can be enlarged and made in every format", async () => {
    const source = await plain(1, 1, "#f00").png().toBuffer();
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const { width, height } = await renderPicture(source, order({ format }), bounds);
      assert.deepEqual([width, height], [1, 1], format);
      const large = await renderPicture(source, order({ widthPx: 64, format, enlargementMax: 64 }), bounds);
      assert.deepEqual([large.width, large.height], [64, 64], format);
    }
  });
});

describe("format", () => {
  const rows: [source: string, wish: Partial<RenderOrder>, type: PictureType][] = [
    ["jpeg", { format: "source" }, "jpeg"],
    ["png", { format: "source" }, "png"],
    ["webp", { format: "source" }, "webp"],
    ["gif", { format: "source" }, "gif"],
    ["avif", { format: "source" }, "avif"],
    ["jpeg", { format: "compatible" }, "jpeg"],
    ["png", { format: "compatible" }, "jpeg"],
    ["avif", { format: "compatible" }, "jpeg"],
    ["alpha", { format: "compatible" }, "png"],
    ["animated gif", { format: "source" }, "gif"],
    ["animated gif", { format: "compatible" }, "gif"],
    ["animated webp", { format: "compatible" }, "gif"],
    ["animated webp", { format: "source" }, "webp"],
    ["animated gif", { format: "avif" }, "avif"],
    ["animated gif", { format: "avif", insteadOfAvif: "webp" }, "webp"],
    ["animated gif", { format: "avif", insteadOfAvif: "compatible" }, "gif"],
    ["jpeg", { format: "avif", insteadOfAvif: "webp" }, "avif"],
    ["jpeg", { format: "avif", insteadOfAvif: "webp", widthPx: 2400, enlargementMax: 40 }, "webp"],
    ["jpeg", { format: "avif", insteadOfAvif: "compatible", widthPx: 2400, enlargementMax: 40 }, "jpeg"],
  ];
  const make: Record<string, () => Promise<Buffer>> = {
    alpha: () => plain(60, 60, "rgba(10,20,30,0.5)", 4).png().toBuffer(),
    "animated gif": () => animation("gif"),
    "animated webp": () => animation("webp"),
  };
  for (const [source, wish, type] of rows) {
    it(`${source} with ${JSON.stringify(wish)} → ${type}`, async () => {
      const made = make[source];
      const bytes =
        made === undefined
          ? await plain(60, 60, "#357")
              .toFormat(source as PictureType)
              .toBuffer()
          : await made();
      assert.equal((await renderPicture(bytes, order(wish), bounds)).type, type);
    });
  }

  it("quality changes the size of lossy formats", async () => {
    const source = await noise(200, 200).png().toBuffer();
    for (const format of ["jpeg", "webp", "avif"] as const) {
      const size = async (quality: number): Promise<number> =>
        (await renderPicture(source, order({ format, quality }), bounds)).body.length;
      assert((await size(30)) < (await size(75)), format);
      assert((await size(75)) < (await size(100)), format);
    }
  });
});

describe("animation", () => {
  for (const from of ["gif", "webp"] as const) {
    for (const to of ["gif", "webp"] as const) {
      it(`${from} → ${to} keeps frames, delays and loops, and resizes each frame`, async () => {
        const source = await animation(from);
        const wish =
          to === from ? order({ widthPx: 25 }) : order({ widthPx: 25, format: to === "webp" ? "webp" : "compatible" });
        const { body, width, height, type } = await renderPicture(source, wish, bounds);
        assert.deepEqual([type, width, height], [to, 25, 20]);
        const { pages, delay, loop, pageHeight } = await sharp(body, { animated: true }).metadata();
        assert.deepEqual(
          { pages, delay, loop, pageHeight },
          { pages: 3, delay: [100, 200, 300], loop: 2, pageHeight: 20 },
        );
      });
    }
  }

  for (const fit of fits) {
    it(`fit=${fit} works on frames`, async () => {
      const { body } = await renderPicture(
        await animation("gif"),
        order({ widthPx: 20, heightPx: 20, fit, format: "webp" }),
        bounds,
      );
      const { width, pageHeight, pages } = await sharp(body, { animated: true }).metadata();
      assert.deepEqual([width, pageHeight, pages], [20, fit === "clip" || fit === "max" ? 16 : 20, 3]);
    });
  }

  it("other formats show the first frame", async () => {
    const { body, type } = await renderPicture(await animation("gif"), order({ format: "jpeg" }), bounds);
    assert.equal(type, "jpeg");
    assert(isNear(await colourAt(body, 25, 20), [0, 20, 200]));
  });

  it("all frames together are bounded, in the source and in the result", async () => {
    const source = await animation("gif");
    const few = { ...bounds, pixelsMax: 50 * 40 * 3 };
    assert.equal((await renderPicture(source, order(), few)).type, "gif");
    few.pixelsMax -= 1;
    assert.equal(await failureOf(inspectPicture(source, few)), "TOO_MANY_PIXELS");
    assert.equal(await failureOf(renderPicture(source, order(), few)), "TOO_MANY_PIXELS");
    assert.equal((await renderPicture(source, order({ format: "jpeg" }), few)).type, "jpeg");
    assert.equal(
      await failureOf(
        renderPicture(source, order({ widthPx: 8000, enlargementMax: 160, outputPixelsMax: 67_108_864 }), bounds),
      ),
      "TOO_MANY_PIXELS",
    );
  });
});

describe("alpha and background", () => {
  const clear = (): Promise<Buffer> => plain(40, 40, "rgba(255,0,0,0)", 4).png().toBuffer();
  const rows: [title: string, wish: Partial<RenderOrder>, colour: number[]][] = [
    ["stays transparent in PNG", { format: "png" }, [255, 0, 0, 0]],
    ["becomes white in JPEG", { format: "jpeg" }, white],
    ["becomes the background in JPEG", { format: "jpeg", background: "0000ffff" }, [0, 0, 255]],
    ["becomes the background over white in JPEG", { format: "jpeg", background: "0000ff80" }, [127, 127, 255]],
    ["becomes the background in PNG", { format: "png", background: "00ff00ff" }, [0, 255, 0]],
    ["becomes a half-transparent background in PNG", { format: "png", background: "00ff0080" }, [0, 255, 0, 128]],
    ["becomes a half-transparent background in WebP", { format: "webp", background: "00ff0080" }, [0, 255, 0, 128]],
  ];
  for (const [title, wish, colour] of rows) {
    it(`what is transparent ${title}`, async () => {
      const { body } = await renderPicture(await clear(), order({ widthPx: 20, ...wish }), bounds);
      const seen = await colourAt(body, 10, 10);
      if (colour.length === 4 && colour[3] === 0) assert.equal(seen[3], 0);
      else assert(isNear(seen, colour, 6), `it is ${String(seen)}`);
    });
  }

  const pads: [title: string, wish: Partial<RenderOrder>, colour: number[]][] = [
    ["white in JPEG", { format: "jpeg" }, white],
    ["transparent in PNG", { format: "png" }, [255, 255, 255, 0]],
    ["transparent in WebP", { format: "webp" }, [255, 255, 255, 0]],
    ["the background", { format: "jpeg", background: "00ff00ff" }, [0, 255, 0]],
    ["a half-transparent background", { format: "png", background: "0000ff80" }, [0, 0, 255, 128]],
  ];
  for (const [title, wish, colour] of pads) {
    it(`fit=fill pads with ${title}`, async () => {
      const source = await plain(40, 20, "#f00").jpeg().toBuffer();
      const { body } = await renderPicture(source, order({ widthPx: 40, heightPx: 40, fit: "fill", ...wish }), bounds);
      const seen = await colourAt(body, 20, 2);
      assert(colour[3] === 0 ? seen[3] === 0 : isNear(seen, colour, 20), `it is ${String(seen)}`);
      assert(isNear((await colourAt(body, 20, 20)).slice(0, 3), red, 20), "the middle is the picture");
    });
  }
});

describe("colour and metadata", () => {
  it("a P3 picture comes out as sRGB without a profile", async () => {
    // The sRGB colour (200, 60, 40) written with P3 numbers must be read back as itself.
    const source = await plain(32, 32, "rgb(200,60,40)").withIccProfile("p3").png().toBuffer();
    const raw = await sharp(source, { ignoreIcc: true }).raw().toBuffer();
    assert(!isNear([...raw.subarray(0, 3)], [200, 60, 40], 8), "the numbers are those of another space");
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const { body } = await renderPicture(source, order({ format }), bounds);
      const { hasProfile, space } = await sharp(body).metadata();
      assert.deepEqual({ hasProfile, space }, { hasProfile: false, space: "srgb" }, format);
      const seen = await colourAt(body, 16, 16);
      assert(isNear(seen, [200, 60, 40], 8), `${format}: ${String(seen)}`);
    }
  });

  it("a CMYK JPEG comes out as sRGB", async () => {
    const source = await plain(32, 32, "rgb(200,60,40)").toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer();
    assert.equal((await sharp(source).metadata()).space, "cmyk");
    assert.deepEqual(await inspectPicture(source, bounds), {
      type: "jpeg",
      width: 32,
      height: 32,
      frames: 1,
      hasAlpha: false,
      scans: 1,
    });
    for (const format of ["source", "webp", "png"] as const) {
      const { body } = await renderPicture(source, order({ format, widthPx: 16 }), bounds);
      const { space, channels } = await sharp(body).metadata();
      assert.deepEqual({ space, channels }, { space: "srgb", channels: 3 }, format);
      const seen = await colourAt(body, 8, 8);
      assert(isNear(seen, [200, 60, 40], 30), `${format}: ${String(seen)}`);
    }
  });

  it("16 bits a channel become 8, with and without a profile", async () => {
    const deep = plain(32, 32, "rgb(200,60,40)").toColourspace("rgb16");
    for (const source of [
      await deep.clone().png().toBuffer(),
      await deep.clone().withIccProfile("p3").png().toBuffer(),
    ]) {
      assert.equal((await sharp(source).metadata()).depth, "ushort");
      const { body } = await renderPicture(source, order({ widthPx: 16 }), bounds);
      const { depth, hasProfile } = await sharp(body).metadata();
      assert.deepEqual({ depth, hasProfile }, { depth: "uchar", hasProfile: false });
      const seen = await colourAt(body, 8, 8);
      assert(isNear(seen, [200, 60, 40], 8), String(seen));
    }
  });

  it("grey pictures can be made in every format", async () => {
    const source = await plain(32, 32, "#777").toColourspace("b-w").jpeg().toBuffer();
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const { body } = await renderPicture(source, order({ format, widthPx: 16 }), bounds);
      assert(isNear((await colourAt(body, 8, 8)).slice(0, 1), [0x77]), format);
    }
  });

  it("EXIF with its place, XMP and comments are gone", async () => {
    const exif = {
      IFD0: { Copyright: "secret-owner" },
      IFD3: { GPSLatitudeRef: "N", GPSLatitude: "51/1 30/1 3230/100" },
    };
    const source = await noise(40, 40)
      .withExif(exif)
      .withXmp('<x:xmpmeta xmlns:x="adobe:ns:meta/">secret-xmp</x:xmpmeta>')
      .jpeg()
      .toBuffer();
    const before = await sharp(source).metadata();
    assert(before.exif !== undefined && before.xmp !== undefined && source.includes("secret-owner"));
    for (const format of ["jpeg", "png", "webp", "avif"] as const) {
      const { body } = await renderPicture(source, order({ format }), bounds);
      const { exif: left, xmp, iptc, icc } = await sharp(body).metadata();
      assert.deepEqual([left, xmp, iptc, icc], [undefined, undefined, undefined, undefined], format);
      assert(!body.includes("secret"), format);
    }
  });
});

describe("what is refused", () => {
  it("each type is inspected as what it is", async () => {
    for (const type of ["jpeg", "png", "webp", "avif"] as const) {
      const source = await noise(31, 17).toFormat(type).toBuffer();
      assert.deepEqual(await inspectPicture(source, bounds), {
        type,
        width: 31,
        height: 17,
        frames: 1,
        hasAlpha: false,
        scans: 1,
      });
    }
    const { frames, width, height } = await inspectPicture(await animation("webp"), bounds);
    assert.deepEqual({ frames, width, height }, { frames: 3, width: 50, height: 40 });
    assert.equal((await inspectPicture(await plain(9, 9, "#0000", 4).webp().toBuffer(), bounds)).hasAlpha, true);
  });

  it("text named .jpg, nothing at all, and pictures of other kinds", async () => {
    const tiff = await plain(4, 4, "#fff").tiff().toBuffer();
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');
    for (const source of [Buffer.from("hello"), Buffer.alloc(0), tiff, svg]) {
      assert.equal(await failureOf(inspectPicture(source, bounds)), "UNSUPPORTED_IMAGE");
      assert.equal(await failureOf(renderPicture(source, order(), bounds)), "UNSUPPORTED_IMAGE");
    }
  });

  it("the first bytes of a picture and nothing behind them", async () => {
    for (const type of ["jpeg", "png", "webp", "gif", "avif"] as const) {
      const source = (await noise(40, 40).toFormat(type).toBuffer()).subarray(0, 24);
      assert.equal(await failureOf(inspectPicture(source, bounds)), "BROKEN_IMAGE", type);
    }
  });

  for (const type of ["jpeg", "progressive jpeg", "png", "interlaced png", "webp", "avif", "animated webp"]) {
    it(`a truncated ${type}`, async () => {
      const pictures: Record<string, () => Promise<Buffer>> = {
        "progressive jpeg": () => noise(200, 201).jpeg({ progressive: true }).toBuffer(),
        "interlaced png": () => noise(200, 201).png({ progressive: true }).toBuffer(),
        "animated webp": () => animation("webp"),
      };
      const whole = await (pictures[type]?.() ??
        noise(200, 201)
          .toFormat(type as PictureType)
          .toBuffer());
      await inspectPicture(whole, bounds);
      for (const part of [0.5, 0.9, 0.99]) {
        const source = whole.subarray(0, Math.floor(whole.length * part));
        assert.equal(await failureOf(inspectPicture(source, bounds)), "BROKEN_IMAGE", `${part}`);
      }
    });
  }

  it("a bomb of 20,000 × 20,000 pixels, before it is decoded", async () => {
    const bomb = pngBomb(20_000, 20_000);
    assert(bomb.length < 1000);
    const limits = { ...bounds, pixelsMax: 100_000_000 };
    assert.equal(await failureOf(inspectPicture(bomb, limits)), "TOO_MANY_PIXELS");
    assert.equal(await failureOf(renderPicture(bomb, order({ widthPx: 10 }), limits)), "TOO_MANY_PIXELS");
  });

  it("the pixel limit holds exactly", async () => {
    const source = await plain(100, 100, "#123").png().toBuffer();
    await inspectPicture(source, { ...bounds, pixelsMax: 10_000 });
    assert.equal(await failureOf(inspectPicture(source, { ...bounds, pixelsMax: 9999 })), "TOO_MANY_PIXELS");
  });

  it("a header that promises pixels which are not there", async () => {
    assert.equal(await failureOf(inspectPicture(pngBomb(1000, 1000), bounds)), "BROKEN_IMAGE");
  });
});

/** Pictures of every kind come out of a sandboxed decoder byte for byte as out of one without a sandbox. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { systemClock } from "../../../node/base/clock.ts";
import { silentLog } from "../../../node/base/log.ts";
import { openDecoderPool, type DecoderPool } from "../../../node/image/pool.ts";
import { needs } from "../../support/needs.ts";
import { animation, noise, order, plain } from "./pictures.ts";

const limits = { pixelsMax: 100_000_000, timeoutMs: 120_000 };

async function opened(t: TestContext, sandbox: "auto" | "off"): Promise<DecoderPool> {
  const pool = openDecoderPool({ size: 1, clock: systemClock, log: silentLog, sandbox });
  t.after(async () => {
    await pool.close({ graceMs: 0 });
  });
  await pool.ready();
  return pool;
}

test("every kind of source, every format", async (t) => {
  const [inside, outside] = [await opened(t, "auto"), await opened(t, "off")];
  const { sandbox, sandboxReason } = inside.stats();
  if (!needs(t, sandbox === "seccomp", `there is no sandbox here: ${sandboxReason}`)) return;
  const sources: Record<string, Buffer> = {
    JPEG: await noise(300, 200).jpeg().toBuffer(),
    "progressive JPEG": await noise(300, 200).jpeg({ progressive: true }).toBuffer(),
    "CMYK JPEG": await noise(300, 200).toColourspace("cmyk").jpeg().toBuffer(),
    "JPEG with a P3 profile": await noise(300, 200).withIccProfile("p3").jpeg().toBuffer(),
    "JPEG with EXIF": await noise(300, 200).withMetadata({ orientation: 6 }).jpeg().toBuffer(),
    "PNG with alpha": await plain(300, 200, "#1238", 4).png().toBuffer(),
    "16-bit PNG": await noise(300, 200).toColourspace("rgb16").png().toBuffer(),
    "interlaced PNG": await noise(300, 200).png({ progressive: true }).toBuffer(),
    "PNG with a palette": await noise(300, 200).png({ palette: true }).toBuffer(),
    WebP: await noise(300, 200).webp().toBuffer(),
    "lossless WebP": await noise(300, 200).webp({ lossless: true }).toBuffer(),
    AVIF: await noise(300, 200).avif().toBuffer(),
    "animated GIF": await animation("gif", 5),
    "animated WebP": await animation("webp", 5),
  };
  for (const [title, source] of Object.entries(sources)) {
    assert.deepEqual(await inside.inspect(source, limits), await outside.inspect(source, limits), title);
    for (const format of ["source", "jpeg", "png", "webp", "avif"] as const) {
      const wish = order({ widthPx: 150, format });
      const [one, other] = [await inside.render(source, wish, limits), await outside.render(source, wish, limits)];
      assert.ok(one.body.equals(other.body), `${title} as ${format}`);
    }
  }
  const { crashes, timeouts, memoryKills } = inside.stats();
  assert.deepEqual({ crashes, timeouts, memoryKills }, { crashes: 0, timeouts: 0, memoryKills: 0 });
});

test("a picture of 40 megapixels, large and small", async (t) => {
  const pool = await opened(t, "auto");
  if (!needs(t, pool.stats().sandbox === "seccomp", "there is no sandbox here")) return;
  for (const source of [
    await plain(8000, 5000, "#468").jpeg().toBuffer(),
    await plain(8000, 5000, "#468").png({ progressive: true }).toBuffer(),
  ]) {
    for (const widthPx of [64, 6000]) {
      const { width } = await pool.render(source, order({ widthPx, format: "webp" }), limits);
      assert.equal(width, widthPx);
    }
  }
  assert.equal(pool.stats().crashes, 0);
});

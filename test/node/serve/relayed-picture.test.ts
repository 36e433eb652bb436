import assert from "node:assert/strict";
import { test } from "node:test";
import sharp from "sharp";
import { typeOfRelayed } from "../../../node/serve/relayed-picture.ts";
import type { Variant } from "../../../node/variant/variant.ts";

const plain = sharp({ create: { width: 8, height: 8, channels: 3, background: "#123" } });
const pictures = {
  jpeg: await plain.clone().jpeg().toBuffer(),
  png: await plain.clone().png().toBuffer(),
  gif: await plain.clone().gif().toBuffer(),
  webp: await plain.clone().webp().toBuffer(),
  avif: await plain.clone().avif().toBuffer(),
};
const variant: Variant = { fit: "clip", quality: 75, format: "source" };

test("a variant is in one of the formats that were asked for", () => {
  const rows: [wanted: Partial<Variant>, allowed: readonly (keyof typeof pictures)[]][] = [
    [{ format: "source" }, ["jpeg", "png", "gif", "webp", "avif"]],
    [{ format: "compatible" }, ["jpeg", "png", "gif"]],
    [{ format: "jpeg" }, ["jpeg"]],
    [{ format: "png" }, ["png"]],
    [{ format: "webp" }, ["webp"]],
    [{ format: "avif" }, ["avif"]],
    [{ format: "avif", insteadOfAvif: "webp" }, ["avif", "webp"]],
    [{ format: "avif", insteadOfAvif: "compatible" }, ["avif", "jpeg", "png", "gif"]],
  ];
  for (const [wanted, allowed] of rows) {
    for (const [type, bytes] of Object.entries(pictures)) {
      const isAllowed = allowed.some((one) => one === type);
      const row = `${JSON.stringify(wanted)}: ${type}`;
      assert.equal(typeOfRelayed(bytes, { ...variant, ...wanted }), isAllowed ? `image/${type}` : undefined, row);
    }
  }
});

test("what a browser would run is no picture", () => {
  const rows = [
    "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
    "<!doctype html><script>alert(1)</script>",
    "alert(1)",
    "%PDF-1.7",
    "",
  ];
  for (const text of rows) assert.equal(typeOfRelayed(Buffer.from(text), variant), undefined, text);
});

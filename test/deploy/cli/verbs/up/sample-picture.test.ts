import assert from "node:assert/strict";
import { test } from "node:test";
import sharp from "sharp";
import { samplePicture } from "../../../../../deploy/cli/verbs/up/sample-picture.ts";

test("the sample is a JPEG of a photograph's size and weight, the same each time", async () => {
  const [picture, again] = await Promise.all([samplePicture(), samplePicture()]);
  assert.deepEqual(picture, again);
  const { format, width, height } = await sharp(picture).metadata();
  assert.deepEqual({ format, width, height }, { format: "jpeg", width: 1600, height: 1067 });
  assert.ok(picture.length > 150_000 && picture.length < 500_000, `${picture.length} bytes`);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { type PictureFacts, readPictureFields, writePictureFields } from "../../../node/base/picture-facts.ts";

const facts: PictureFacts = { type: "jpeg", width: 4000, height: 3000, frames: 1, hasAlpha: false, scans: 10 };

test("what is written is read again, with and without the scans", () => {
  const { scans: _, ...unknown } = { ...facts, hasAlpha: true };
  for (const one of [facts, unknown]) assert.deepEqual(readPictureFields(writePictureFields(one)), one);
});

test("fields that are missing or make no sense say nothing; scans may be missing alone", () => {
  const fields = writePictureFields(facts);
  for (const [name, text] of [
    ["nearcast-type", "tiff"],
    ["nearcast-width", "0"],
    ["nearcast-width", "1e3"],
    ["nearcast-height", "1000001"],
    ["nearcast-frames", "-1"],
    ["nearcast-frames", ["1", "2"]],
    ["nearcast-type", undefined],
  ] as const) {
    assert.equal(readPictureFields({ ...fields, [name]: text }), undefined, `${name}: ${String(text)}`);
  }
  assert.equal(readPictureFields({ ...fields, "nearcast-scans": "9999" })?.scans, undefined);
  assert.equal(readPictureFields({}), undefined);
});

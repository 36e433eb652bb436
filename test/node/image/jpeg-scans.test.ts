import assert from "node:assert/strict";
import { test } from "node:test";
import { countJpegScans } from "../../../node/image/jpeg-scans.ts";
import { noise } from "./pictures.ts";

const startOfScan = Buffer.from([0xff, 0xda, 0x00, 0x04, 0, 0, 1, 2, 3]);

test("a baseline file has one scan, a progressive one several", async () => {
  const picture = noise(64, 48);
  assert.equal(countJpegScans(await picture.clone().jpeg().toBuffer(), 100), 1);
  assert.equal(countJpegScans(await picture.clone().jpeg({ progressive: true }).toBuffer(), 100), 10);
});

test("stuffed zeros, restart markers and fill bytes are no scans; what a segment holds is not looked at", () => {
  const start = Buffer.from([0xff, 0xd8]);
  const comment = Buffer.from([0xff, 0xfe, 0x00, 0x06, 0xff, 0xda, 0xff, 0xda]);
  const data = Buffer.from([0xff, 0x00, 0xff, 0xd3, 0xff, 0xff]);
  const end = Buffer.from([0xff, 0xd9]);
  const file = Buffer.concat([start, comment, startOfScan, data, startOfScan, data, end, startOfScan]);
  assert.equal(countJpegScans(file, 100), 2);
});

test("the count has a bound, and nonsense has one scan", () => {
  const many = Buffer.concat([Buffer.from([0xff, 0xd8]), ...Array.from({ length: 50 }, () => startOfScan)]);
  assert.equal(countJpegScans(many, 20), 20);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from([0xff]),
    Buffer.alloc(1000, 0xff),
    Buffer.from([0xff, 0xd8, 0xff, 0xda]),
  ]) {
    assert.equal(countJpegScans(bytes, 20), 1);
  }
});

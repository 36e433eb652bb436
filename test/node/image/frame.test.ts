import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { frameHead, readFrames, type Frame } from "../../../node/image/frame.ts";
import { readReply } from "../../../node/image/messages.ts";

const limits = { headerBytesMax: 100, bodyBytesMax: 1000 };

describe("frames", () => {
  it("arrive whole however the stream is cut", () => {
    const bodies = [Buffer.alloc(0), Buffer.from("abc"), Buffer.alloc(1000, 7)];
    const stream = Buffer.concat(bodies.flatMap((body, id) => [frameHead({ id }, body.length), body]));
    for (const step of [1, 2, 7, 8, 9, 100, stream.length]) {
      const seen: Frame[] = [];
      const read = readFrames(limits, (frame) => seen.push(frame));
      for (let at = 0; at < stream.length; at += step) read(stream.subarray(at, at + step));
      assert.deepEqual(
        seen,
        bodies.map((body, id) => ({ header: { id }, body })),
        `cut each ${step} bytes`,
      );
    }
  });

  const rows: [string, Buffer, RegExp][] = [
    ["a header beyond the bound", Buffer.from([0, 0, 0, 101, 0, 0, 0, 0]), /a header of 101 bytes/],
    ["a body beyond the bound", Buffer.from([0, 0, 0, 2, 255, 255, 255, 255]), /a body of 4294967295 bytes/],
    ["a header that is no JSON", Buffer.from([0, 0, 0, 1, 0, 0, 0, 0, 0x7b]), /JSON/],
    ["a header of no bytes", Buffer.alloc(8), /JSON/],
  ];
  for (const [title, bytes, message] of rows) {
    it(`${title} is a violation`, () => {
      const read = readFrames(limits, () => assert.fail("no frame"));
      assert.throws(() => read(bytes), message);
    });
  }
});

describe("replies of a decoder are believed only if they fit", () => {
  const good = { outcome: "picture", id: 1, type: "png", width: 10, height: 10 };
  const rows: [string, unknown, boolean][] = [
    ["a picture", good, true],
    ["taken", { outcome: "taken", id: 0 }, true],
    ["nothing", null, false],
    ["an array", [good], false],
    ["an unknown outcome", { ...good, outcome: "shell" }, false],
    ["an unknown type", { ...good, type: "html" }, false],
    ["a key too many", { ...good, path: "/" }, false],
    ["a negative width", { ...good, width: -1 }, false],
    ["a width that is a text", { ...good, width: "10" }, false],
    ["a code outside of the list", { outcome: "failed", id: 1, code: "UNAUTHORIZED", detail: "" }, false],
    ["a detail too long", { outcome: "failed", id: 1, code: "BROKEN_IMAGE", detail: "x".repeat(501) }, false],
    ["a prototype", JSON.parse('{"__proto__":{"outcome":"taken","id":1}}'), false],
  ];
  for (const [title, header, isBelieved] of rows) {
    it(`${title}: ${isBelieved ? "yes" : "no"}`, () => {
      assert.equal(readReply(header) !== undefined, isBelieved);
    });
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  addToChecksums,
  bodyBlockBytes,
  checksumsOf,
  createChecksums,
  decodeHead,
  encodeHead,
  finishChecksums,
  headLengthAt,
  type StoredHead,
} from "../../../../node/cache/disk/head-record.ts";
import { bodyFor, objectFor } from "../../../support/objects.ts";

function headFor(name: string, parts: Partial<StoredHead> = {}): StoredHead {
  const { key, facts, headerBlock } = objectFor(name, { notes: { text: "größer 図" } });
  return {
    key,
    facts,
    headerBlock,
    lengthBytes: 2 ** 33 + 5,
    blockChecksums: Uint32Array.of(1, 2 ** 32 - 1),
    ...parts,
  };
}

function encoded(head: StoredHead): Buffer {
  const bytes = encodeHead(head);
  assert(bytes !== undefined);
  return bytes;
}

test("a head is decoded as it was encoded", () => {
  for (const parts of [{}, { lengthBytes: 0, blockChecksums: new Uint32Array(0), headerBlock: Buffer.alloc(0) }]) {
    const head = headFor("o", parts);
    assert.deepEqual(decodeHead(encoded(head)), head);
  }
});

test("a wrong bit anywhere, and a byte too few or too many, make it no head", () => {
  const bytes = encoded(headFor("o"));
  for (let at = 0; at < bytes.length; at += 1) {
    const bad = Buffer.from(bytes);
    bad[at] = (bad[at] ?? 0) ^ (1 << (at % 8));
    assert.equal(decodeHead(bad), undefined, `byte ${at}`);
  }
  for (let length = 0; length < bytes.length; length += 1)
    assert.equal(decodeHead(bytes.subarray(0, length)), undefined);
  assert.equal(decodeHead(Buffer.concat([bytes, Buffer.alloc(1)])), undefined);
});

test("the heads of a segment are found one after the other", () => {
  const heads = ["a", "b", "c"].map((name) => encoded(headFor(name)));
  const segment = Buffer.concat([...heads, Buffer.alloc(100)]);
  let at = 0;
  for (const head of heads) {
    assert.equal(headLengthAt(segment, at), head.length);
    at += head.length;
  }
  assert.equal(headLengthAt(segment, at), 0);
});

test("a head that is too large for the index is none", () => {
  assert.equal(encodeHead(headFor("o", { headerBlock: Buffer.alloc(2 ** 24) })), undefined);
});

test("checksums of a body in pieces are those of the whole body", () => {
  for (const sizeBytes of [0, 1, bodyBlockBytes, bodyBlockBytes + 1, 3 * bodyBlockBytes + 77]) {
    const body = bodyFor("o", 1, sizeBytes);
    for (const chunkBytes of [1 + Math.floor(sizeBytes / 3), 4099, sizeBytes + 1]) {
      const checksums = createChecksums();
      for (let at = 0; at < sizeBytes; at += chunkBytes) addToChecksums(checksums, body.subarray(at, at + chunkBytes));
      assert.deepEqual(finishChecksums(checksums), checksumsOf(body), `${sizeBytes} in pieces of ${chunkBytes}`);
    }
  }
});

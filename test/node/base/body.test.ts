import assert from "node:assert/strict";
import { PassThrough, Readable } from "node:stream";
import { test } from "node:test";
import { type BodyReader, chunksOf, dropUnread, streamReader } from "#base/body.ts";

/** Not once(), which rejects when the stream fails. */
async function closed(stream: Readable): Promise<void> {
  if (!stream.closed) await new Promise<void>((resolve) => stream.once("close", resolve));
}

async function restOf(reader: BodyReader): Promise<string> {
  let text = "";
  for (;;) {
    await reader.ready();
    const piece = await reader.next(4);
    if (piece === null) return text;
    assert(piece.length <= 4);
    text += piece.toString();
  }
}

test("a stream is read to its end, in pieces of at most what was asked for, at once when they are there", async () => {
  const stream = new PassThrough();
  const reader = streamReader(stream);
  const ready = reader.ready();
  assert.notEqual(ready, true);
  stream.write("01234");
  await ready;
  assert.equal(reader.ready(), true);
  assert.deepEqual(reader.next(2), Buffer.from("01"));
  stream.end("56789");
  assert.equal(await restOf(reader), "23456789");
  assert.equal(reader.next(1), null, "and stays at its end");
});

test("streams that ended, failed or were destroyed before their reader came say so", async () => {
  const ended = new PassThrough();
  ended.end();
  ended.resume();
  await closed(ended);
  assert.equal(await restOf(streamReader(ended)), "");
  const failed = new PassThrough();
  failed.on("error", () => undefined);
  failed.destroy(new Error("gone"));
  await closed(failed);
  await assert.rejects(restOf(streamReader(failed)), /gone/);
  const destroyed = new PassThrough();
  destroyed.destroy();
  await closed(destroyed);
  await assert.rejects(restOf(streamReader(destroyed)), /ended early/);
});

test("a stream that fails, or is closed before its end, wakes whoever waits", async () => {
  for (const error of [new Error("gone"), undefined]) {
    const stream = new PassThrough();
    const reader = streamReader(stream);
    const ready = reader.ready();
    stream.destroy(error);
    await ready;
    assert.throws(() => reader.next(1), error === undefined ? /ended early/ : /gone/);
  }
  const stream = new PassThrough();
  const reader = streamReader(stream);
  const ready = reader.ready();
  reader.close();
  reader.close();
  await ready;
  assert(stream.destroyed);
});

test("a body that nobody reads is given up, also when it fails afterwards", async () => {
  const stream = new Readable({ read: () => undefined, destroy: (_, done) => done(new Error("late")) });
  dropUnread({ kind: "stream", stream });
  await closed(stream);
  dropUnread({ kind: "bytes", bytes: Buffer.alloc(1) });
});

test("a stored body gives its pieces, and its reader is closed when nobody wants the rest", async () => {
  let closes = 0;
  const open = (): BodyReader => {
    const pieces = ["ab", "cd"];
    return {
      ready: () => true,
      next() {
        const piece = pieces.shift();
        return piece === undefined ? null : Buffer.from(piece);
      },
      close: () => (closes += 1),
    };
  };
  assert.deepEqual(await Array.fromAsync(chunksOf({ kind: "ranges", open })), [Buffer.from("ab"), Buffer.from("cd")]);
  assert.equal(closes, 1);
  for await (const piece of chunksOf({ kind: "ranges", open })) {
    assert.equal(piece.toString(), "ab");
    break;
  }
  assert.equal(closes, 2);
  assert.deepEqual(await Array.fromAsync(chunksOf({ kind: "bytes", bytes: Buffer.from("x") })), [Buffer.from("x")]);
});

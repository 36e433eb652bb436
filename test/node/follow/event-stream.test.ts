import assert from "node:assert/strict";
import { test } from "node:test";
import { createEventStreamReader, type ServerSentEvent } from "#follow/event-stream.ts";

function readAll(chunks: readonly Buffer[]): ServerSentEvent[] {
  const read = createEventStreamReader();
  return chunks.flatMap((chunk) => read(chunk));
}

test("what lines mean (WHATWG HTML §9.2.6)", () => {
  const rows: [text: string, events: ServerSentEvent[]][] = [
    ["data: a\n\n", [{ event: "message", id: "", data: "a" }]],
    ["event: purge\nid: 7\ndata: {}\n\n", [{ event: "purge", id: "7", data: "{}" }]],
    ["data:a\ndata:  b\n\n", [{ event: "message", id: "", data: "a\n b" }]],
    [": heartbeat\n\n", []],
    ["event: x\n\ndata: y\n\n", [{ event: "message", id: "", data: "y" }]], // without data nothing is dispatched
    ["data\n\n", [{ event: "message", id: "", data: "" }]],
    ["retry: 3\nother: 4\ndata: a\n\n", [{ event: "message", id: "", data: "a" }]],
    ["data: a:b: c\n\n", [{ event: "message", id: "", data: "a:b: c" }]],
    ["data: half", []],
    ["data: half\n", []],
    ["\n\n\n", []],
  ];
  for (const [text, events] of rows) assert.deepEqual(readAll([Buffer.from(text)]), events, JSON.stringify(text));
});

test("events are the same wherever the stream is cut, inside a character and inside CRLF too", () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const lines = [
      "event: purge",
      "id: 12",
      'data: {"name":"blåbär/日本.jpg"}',
      "",
      ": beat",
      "",
      "data: x",
      "data: y",
      "",
      "",
    ];
    const bytes = Buffer.from(`${lines.join(end)}${end === "\r" ? "x" : ""}`);
    const whole = readAll([bytes]);
    assert.equal(whole.length, 2, JSON.stringify(end));
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      assert.deepEqual(
        readAll([bytes.subarray(0, cut), bytes.subarray(cut)]),
        whole,
        `${JSON.stringify(end)} at ${cut}`,
      );
    }
    assert.deepEqual(readAll([...bytes].map((byte) => Buffer.from([byte]))), whole, "byte by byte");
  }
});

test("a line without end, and an event without end, are refused", () => {
  const line = Buffer.from(`data: ${"x".repeat(64 * 1024)}`);
  const endless = createEventStreamReader();
  assert.throws(() => {
    for (let index = 0; index < 20; index += 1) endless(index === 0 ? line : line.subarray(6));
  }, /longer than/);
  const lines = createEventStreamReader();
  assert.throws(() => {
    for (let index = 0; index < 2000; index += 1) lines(Buffer.from("data: x\n"));
  }, /more than 1024 lines/);
});

test("a purge of a thousand long names fits in a line", () => {
  const names = Array.from({ length: 1000 }, (_, index) => `${index}${"n".repeat(490)}`);
  const [event] = readAll([Buffer.from(`data: ${JSON.stringify({ names })}\n\n`)]);
  assert.deepEqual(JSON.parse(event?.data ?? ""), { names });
});

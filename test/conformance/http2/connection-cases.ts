/** RFC 9113 §3 to §5: preface, frames in general, states of streams. */
import {
  type Case,
  none,
  get1,
  open1,
  held1,
  seen,
  complete,
  abandon,
  raw,
  one,
  after,
  goaway,
  resets,
  ok,
  isPong,
  protocol,
  streamClosed,
  frameSize,
  compression,
  refused,
} from "./case.ts";
import {
  block,
  data,
  flag,
  frame,
  get,
  headers,
  ping,
  preface,
  reset,
  settings,
  type,
  uint32,
  windowUpdate,
} from "./frames.ts";

export const connectionCases: readonly Case[] = [
  raw(
    "3.4 a preface is answered by SETTINGS, and they are acknowledged",
    (to) => {
      to.send(preface, settings());
    },
    async (to) => {
      const first = await to.next(() => true);
      if (first?.type !== type.settings) return `the first frame is of type ${first?.type}`;
      const ack = await to.next((frameOf) => frameOf.type === type.settings && frameOf.flags === flag.ack);
      return ack === undefined ? "no acknowledgement" : undefined;
    },
  ),
  raw(
    "3.4 an invalid preface ends the connection",
    (to) => to.send("INVALID * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    goaway(protocol),
  ),
  raw(
    "3.4 a request of HTTP/1.1 ends the connection",
    (to) => to.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    goaway(protocol),
  ),
  raw(
    "3.4 a preface without SETTINGS behind it ends the connection",
    (to) => to.send(preface, ping()),
    goaway(protocol),
  ),
  raw("3.4 a request may follow the preface at once", (to) => to.send(preface, settings(), get1), ok),
  one("4.1 a frame of an unknown type is ignored", [frame(0x16, 0, 0, Buffer.alloc(8))], "alive"),
  one("4.1 a frame of an unknown type on a stream is ignored", [frame(0x16, 0xff, 1, Buffer.alloc(8)), get1], ok),
  one("4.1 undefined flags are ignored", [frame(type.ping, 0x16, 0, Buffer.from("undefine"))], "alive"),
  one(
    "4.1 the reserved bit of a stream identifier is ignored",
    [frame(type.headers, flag.endHeaders | flag.endStream, 0x8000_0001, block(...get()))],
    ok,
  ),
  one("4.2 a frame of 16,384 bytes is accepted", [open1, frame(0x16, 0, 1, Buffer.alloc(16_384))], "alive"),
  one("4.2 DATA that is too large is an error", [open1, data(1, Buffer.alloc(16_385))], goaway(frameSize)),
  one(
    "4.2 HEADERS that are too large are a connection error",
    [headers(1, get("/hit", "a", "x".repeat(17_000)))],
    goaway(frameSize),
  ),
  one(
    "4.2 SETTINGS that are too large are a connection error",
    [frame(type.settings, 0, 0, Buffer.alloc(16_386))],
    goaway(frameSize),
  ),
  one(
    "4.3 a field section that can't be decoded is a connection error",
    [frame(type.headers, flag.endHeaders | flag.endStream, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))],
    goaway(compression),
  ),
  one(
    "4.3 PRIORITY within a field section is a connection error",
    [frame(type.headers, flag.endStream, 1, block(...get())), frame(type.priority, 0, 1, Buffer.alloc(5))],
    goaway(protocol),
  ),
  one(
    "4.3 HEADERS of another stream within a field section are a connection error",
    [frame(type.headers, flag.endStream, 1, block(...get())), headers(3, get())],
    goaway(protocol),
  ),
  one("5.4.1 the connection closes behind GOAWAY", [data(0, "x")], async (to) => {
    await seen(to, type.goaway, 0);
    await to.closed();
    return undefined;
  }),
  one(
    "5.5 an extension frame within a field section is a connection error",
    [frame(type.headers, flag.endStream, 1, block(...get())), frame(0x16, 0, 1, none)],
    goaway(protocol),
  ),
  one("5.5 an unknown setting is ignored", [settings([0xff, 1])], "alive"),
];

export const stateCases: readonly Case[] = [
  one("5.1 idle: DATA is a connection error", [data(1, "x")], goaway(protocol)),
  one("5.1 idle: RST_STREAM is a connection error", [reset(1)], goaway(protocol)),
  one("5.1 idle: WINDOW_UPDATE is a connection error", [windowUpdate(1, 100)], goaway(protocol)),
  one(
    "5.1 idle: CONTINUATION is a connection error",
    [frame(type.continuation, flag.endHeaders, 1, block(...get()))],
    goaway(protocol),
  ),
  one("5.1 idle: PRIORITY is accepted", [frame(type.priority, 0, 1, Buffer.alloc(5)), headers(1, get())], ok),
  one("5.1 half-closed (remote): DATA is an error", [held1, data(1, "x")], resets(streamClosed)),
  one("5.1 half-closed (remote): HEADERS are an error", [held1, headers(1, get())], goaway(streamClosed)),
  one(
    "5.1 half-closed (remote): CONTINUATION is an error",
    [held1, frame(type.continuation, flag.endHeaders, 1, block("a", "b"))],
    goaway(protocol, streamClosed),
  ),
  one(
    "5.1 half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are accepted",
    [held1, windowUpdate(1, 1), frame(type.priority, 0, 1, Buffer.alloc(5)), reset(1)],
    "alive",
  ),
  after(
    "5.1 closed by RST_STREAM: DATA is an error, or ignored",
    async (to) => {
      await abandon(to);
      to.send(data(1, "x"), ping("still..."));
    },
    async (to) => {
      const said = await to.next(
        (frameOf) => frameOf.type === type.reset || frameOf.type === type.goaway || isPong(frameOf),
      );
      return said === undefined ? "the connection closed" : undefined;
    },
  ),
  after(
    "5.1 closed by RST_STREAM: HEADERS are an error",
    async (to) => {
      await abandon(to);
      to.send(headers(1, get()));
    },
    goaway(streamClosed, protocol),
  ),
  after(
    "5.1 closed by RST_STREAM: CONTINUATION is a connection error",
    async (to) => {
      await abandon(to);
      to.send(frame(type.continuation, flag.endHeaders, 1, block("a", "b")));
    },
    goaway(streamClosed, protocol),
  ),
  after(
    "5.1 closed: DATA is a connection error",
    async (to) => {
      await complete(to);
      to.send(data(1, "x"));
    },
    goaway(streamClosed),
  ),
  after(
    "5.1 closed: HEADERS are a connection error",
    async (to) => {
      await complete(to);
      to.send(headers(1, get()));
    },
    goaway(streamClosed, protocol),
  ),
  after(
    "5.1 closed: CONTINUATION is a connection error",
    async (to) => {
      await complete(to);
      to.send(frame(type.continuation, flag.endHeaders, 1, block("a", "b")));
    },
    goaway(streamClosed, protocol),
  ),
  after(
    "5.1 closed: WINDOW_UPDATE, PRIORITY and RST_STREAM are ignored",
    async (to) => {
      await complete(to);
      to.send(windowUpdate(1, 1), frame(type.priority, 0, 1, Buffer.alloc(5)), reset(1));
    },
    "alive",
  ),
  one("5.1.1 a stream with an even number is a connection error", [headers(2, get())], goaway(protocol)),
  after(
    "5.1.1 a stream with a lower number is a connection error",
    async (to) => {
      await complete(to, 5);
      to.send(headers(3, get()));
    },
    goaway(protocol, streamClosed),
  ),
  one("5.1.1 numbers may be left out", [headers(9, get())], { response: 9 }),
  after(
    "5.1.2 streams beyond the limit are refused, and the others stay",
    (to) => {
      for (let stream = 1; stream <= 201; stream += 2) to.send(headers(stream, get("/held")));
    },
    { reset: [refused], stream: 201 },
  ),
  one(
    "5.3.1 HEADERS that depend on themselves are accepted: priorities are obsolete",
    [
      frame(
        type.headers,
        flag.endHeaders | flag.endStream | flag.priority,
        1,
        Buffer.concat([uint32(1), Buffer.from([1]), block(...get())]),
      ),
    ],
    ok,
  ),
  one(
    "5.3.1 PRIORITY that depends on itself is ignored",
    [frame(type.priority, 0, 1, Buffer.concat([uint32(1), Buffer.from([1])])), get1],
    ok,
  ),
];

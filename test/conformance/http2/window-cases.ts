/** RFC 9113 §6.9, flow control, and §6.10, field sections in several frames. */
import {
  type Case,
  none,
  get1,
  open1,
  held1,
  seen,
  one,
  after,
  goaway,
  resets,
  ok,
  firstDataIs,
  protocol,
  flowControl,
  frameSize,
  refused,
} from "./case.ts";
import { block, code, data, flag, frame, get, headers, post, setting, settings, type, windowUpdate } from "./frames.ts";

export const windowCases: readonly Case[] = [
  one("6.9 WINDOW_UPDATE by 0 is a connection error", [windowUpdate(0, 0)], goaway(protocol)),
  one("6.9 WINDOW_UPDATE of a stream by 0 is a stream error", [open1, windowUpdate(1, 0)], resets(protocol)),
  one(
    "6.9 WINDOW_UPDATE of another length is a connection error",
    [frame(type.windowUpdate, 0, 0, Buffer.alloc(3))],
    goaway(frameSize),
  ),
  one("6.9.1 a window bounds what is sent", [get1], (to) => firstDataIs(to, 1, 1), [[setting.initialWindowSize, 1]]),
  one(
    "6.9.1 a window of the connection above 2^31-1 is a connection error",
    [windowUpdate(0, 0x7fff_ffff)],
    goaway(flowControl),
  ),
  one(
    "6.9.1 a window of a stream above 2^31-1 is a stream error",
    [open1, windowUpdate(1, 0x7fff_ffff)],
    resets(flowControl),
  ),
  one(
    "6.9.1 HEADERS are sent without a window",
    [get1],
    async (to) => {
      return (await seen(to, type.headers, 1)) === undefined ? "no HEADERS" : undefined;
    },
    [[setting.initialWindowSize, 0]],
  ),
  one(
    "6.9.2 a new initial window changes those of open streams",
    [get1, settings([setting.initialWindowSize, 1])],
    (to) => firstDataIs(to, 1, 1),
    [[setting.initialWindowSize, 0]],
  ),
  after(
    "6.9.2 a window may become negative, and nothing is sent until it is positive",
    async (to) => {
      to.send(headers(1, get("/large/1000")));
      await seen(to, type.data, 1);
      to.send(settings([setting.initialWindowSize, 2]), windowUpdate(1, 2));
    },
    (to) => firstDataIs(to, 1, 1),
    [[setting.initialWindowSize, 3]],
  ),
  one(
    "6.9.2 an initial window that makes one too large is a connection error",
    [held1, windowUpdate(1, 0x7fff_ffff - 65_535), settings([setting.initialWindowSize, 65_536])],
    goaway(flowControl),
  ),
];

export const sectionCases: readonly Case[] = [
  one(
    "6.10 a field section may have many CONTINUATION frames",
    [
      frame(type.headers, flag.endStream, 1, block(...get().slice(0, 4))),
      frame(type.continuation, 0, 1, block(...get().slice(4, 6))),
      frame(type.continuation, flag.endHeaders, 1, block(...get().slice(6))),
    ],
    ok,
  ),
  one(
    "6.10 a field may be split between frames",
    [
      frame(type.headers, flag.endStream, 1, block(...get()).subarray(0, 3)),
      frame(type.continuation, flag.endHeaders, 1, block(...get()).subarray(3)),
    ],
    ok,
  ),
  one(
    "6.10 CONTINUATION may be empty",
    [frame(type.headers, flag.endStream, 1, block(...get())), frame(type.continuation, flag.endHeaders, 1, none)],
    ok,
  ),
  one(
    "6.10 DATA within a field section is a connection error",
    [frame(type.headers, 0, 1, block(...post())), data(1, "x")],
    goaway(protocol),
  ),
  one(
    "6.10 CONTINUATION on stream 0 is a connection error",
    [
      frame(type.headers, flag.endStream, 1, block(...get())),
      frame(type.continuation, flag.endHeaders, 0, block("a", "b")),
    ],
    goaway(protocol),
  ),
  one(
    "6.10 CONTINUATION of another stream is a connection error",
    [
      frame(type.headers, flag.endStream, 1, block(...get())),
      frame(type.continuation, flag.endHeaders, 3, block("a", "b")),
    ],
    goaway(protocol),
  ),
  one(
    "6.10 CONTINUATION behind the end of a field section is a connection error",
    [open1, frame(type.continuation, flag.endHeaders, 1, block("a", "b"))],
    goaway(protocol),
  ),
  one(
    "6.10 CONTINUATION behind DATA is a connection error",
    [open1, data(1, "x"), frame(type.continuation, flag.endHeaders, 1, block("a", "b"))],
    goaway(protocol),
  ),
  one(
    "10.5.1 endless CONTINUATION ends the connection",
    [
      frame(type.headers, flag.endStream, 1, block(...get())),
      ...Array.from({ length: 1000 }, () => frame(type.continuation, 0, 1, block("a", "b"))),
    ],
    goaway(protocol, code.calm, code.internal, code.none),
  ),
  one(
    "10.5.1 endless empty CONTINUATION ends the connection",
    [
      frame(type.headers, flag.endStream, 1, block(...get())),
      ...Array.from({ length: 1000 }, () => frame(type.continuation, 0, 1, none)),
    ],
    goaway(protocol, code.calm, code.internal, code.none),
  ),
  one(
    "10.5.1 too many fields end the stream",
    [
      frame(type.headers, flag.endStream, 1, block(...get())),
      frame(type.continuation, flag.endHeaders, 1, block(...Array.from({ length: 3000 }, () => ["a", "b"]).flat())),
    ],
    resets(code.calm, protocol, refused),
  ),
];

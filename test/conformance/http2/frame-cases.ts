/** RFC 9113 §6.1 to §6.8: each type of frame. */
import {
  type Case,
  none,
  get1,
  open1,
  seen,
  padded,
  one,
  goaway,
  resets,
  ok,
  isPong,
  firstDataIs,
  protocol,
  flowControl,
  frameSize,
} from "./case.ts";
import {
  block,
  data,
  flag,
  frame,
  get,
  headers,
  ping,
  post,
  reset,
  setting,
  settings,
  type,
  uint32,
  windowUpdate,
} from "./frames.ts";

export const frameCases: readonly Case[] = [
  one("6.1 DATA on stream 0 is a connection error", [data(0, "x")], goaway(protocol)),
  one(
    "6.1 DATA whose padding is longer than the frame is a connection error",
    [open1, frame(type.data, flag.padded | flag.endStream, 1, Buffer.from([6, 0, 0, 0, 0, 0]))],
    goaway(protocol),
  ),
  one(
    "6.1 DATA may be padded",
    [
      headers(1, post("/echo", "content-length", "4"), 0),
      frame(type.data, flag.padded | flag.endStream, 1, padded(Buffer.from("body"), 9)),
    ],
    ok,
  ),
  one(
    "6.1 DATA that is nothing but padding counts as no body",
    [
      headers(1, post("/echo", "content-length", "0"), 0),
      frame(type.data, flag.padded | flag.endStream, 1, padded(none, 255)),
    ],
    ok,
  ),
  one(
    "6.1 DATA with the flag for padding must have a length of it",
    [open1, frame(type.data, flag.padded, 1, none)],
    goaway(frameSize, protocol),
  ),
  one("6.2 HEADERS on stream 0 are a connection error", [headers(0, get())], goaway(protocol)),
  one(
    "6.2 HEADERS whose padding is longer than the frame are a connection error",
    [
      frame(
        type.headers,
        flag.endHeaders | flag.endStream | flag.padded,
        1,
        Buffer.concat([Buffer.from([255]), block(...get())]),
      ),
    ],
    goaway(protocol),
  ),
  one(
    "6.2 HEADERS may be padded and have a priority",
    [
      frame(
        type.headers,
        flag.endHeaders | flag.endStream | flag.padded | flag.priority,
        1,
        padded(Buffer.concat([uint32(0), Buffer.from([15]), block(...get())]), 7),
      ),
    ],
    ok,
  ),
  one(
    "6.2 HEADERS with the flag for a priority must have one",
    [frame(type.headers, flag.endHeaders | flag.endStream | flag.priority, 1, Buffer.alloc(3))],
    goaway(frameSize),
  ),
  one(
    "6.3 PRIORITY on stream 0 is a connection error",
    [frame(type.priority, 0, 0, Buffer.alloc(5))],
    goaway(protocol),
  ),
  one(
    "6.3 PRIORITY of another length is a stream error",
    [open1, frame(type.priority, 0, 1, Buffer.alloc(4))],
    resets(frameSize),
  ),
  one("6.4 RST_STREAM on stream 0 is a connection error", [reset(0)], goaway(protocol)),
  one(
    "6.4 RST_STREAM of another length is a connection error",
    [open1, frame(type.reset, 0, 1, Buffer.alloc(3))],
    goaway(frameSize),
  ),
  one("6.4 RST_STREAM with an unknown code ends the stream", [open1, reset(1, 0xdead), headers(3, get())], {
    response: 3,
  }),
  one(
    "6.5 an acknowledgement of SETTINGS with a payload is a connection error",
    [frame(type.settings, flag.ack, 0, Buffer.alloc(6))],
    goaway(frameSize),
  ),
  one("6.5 SETTINGS on a stream are a connection error", [frame(type.settings, 0, 1, none)], goaway(protocol)),
  one(
    "6.5 SETTINGS of another length are a connection error",
    [frame(type.settings, 0, 0, Buffer.alloc(5))],
    goaway(frameSize),
  ),
  one(
    "6.5.2 ENABLE_PUSH other than 0 and 1 is a connection error",
    [settings([setting.enablePush, 2])],
    goaway(protocol),
  ),
  one(
    "6.5.2 INITIAL_WINDOW_SIZE above 2^31-1 is a connection error",
    [settings([setting.initialWindowSize, 0x8000_0000])],
    goaway(flowControl),
  ),
  one(
    "6.5.2 MAX_FRAME_SIZE below 16,384 is a connection error",
    [settings([setting.maxFrameSize, 16_383])],
    goaway(protocol),
  ),
  one(
    "6.5.2 MAX_FRAME_SIZE above 2^24-1 is a connection error",
    [settings([setting.maxFrameSize, 0x100_0000])],
    goaway(protocol),
  ),
  one("6.5.3 SETTINGS are acknowledged", [settings([setting.maxConcurrentStreams, 7])], async (to) => {
    const ack = await to.next((frameOf) => frameOf.type === type.settings && frameOf.flags === flag.ack);
    return ack?.payload.length === 0 ? undefined : "no acknowledgement";
  }),
  one(
    "6.5.3 of several values of a setting, the last one counts",
    [settings([setting.initialWindowSize, 100], [setting.initialWindowSize, 1]), get1],
    (to) => firstDataIs(to, 1, 1),
  ),
  one(
    "6.6 PUSH_PROMISE from a client is a connection error",
    [frame(type.pushPromise, flag.endHeaders, 1, Buffer.concat([uint32(2), block(...get())]))],
    goaway(protocol),
  ),
  one("6.7 PING is answered with its data", [ping("datadata")], async (to) => {
    const pong = await to.next(isPong);
    return pong?.payload.toString() === "datadata" ? undefined : "no answer with the same data";
  }),
  one("6.7 an answered PING is not answered", [ping("first...", flag.ack), ping("second..")], async (to) => {
    const pong = await to.next(isPong);
    return pong?.payload.toString() === "second.." ? undefined : `answered: ${pong?.payload.toString()}`;
  }),
  one("6.7 PING on a stream is a connection error", [frame(type.ping, 0, 1, Buffer.alloc(8))], goaway(protocol)),
  one("6.7 PING of another length is a connection error", [frame(type.ping, 0, 0, Buffer.alloc(6))], goaway(frameSize)),
  one("6.8 GOAWAY on a stream is a connection error", [frame(type.goaway, 0, 1, uint32(0, 0))], goaway(protocol)),
  one("6.8 GOAWAY that is too short is a connection error", [frame(type.goaway, 0, 0, uint32(0))], goaway(frameSize)),
  one(
    "6.8 behind GOAWAY, the streams in progress complete",
    [
      headers(1, get("/large/100000")),
      frame(type.goaway, 0, 0, uint32(0, 0)),
      windowUpdate(0, 100_000),
      windowUpdate(1, 100_000),
    ],
    async (to) => {
      let length = 0;
      for (;;) {
        const part = await seen(to, type.data, 1);
        if (part === undefined) return `closed after ${length} bytes`;
        length += part.payload.length;
        if ((part.flags & flag.endStream) !== 0) return length === 100_000 ? undefined : `${length} bytes`;
      }
    },
  ),
];

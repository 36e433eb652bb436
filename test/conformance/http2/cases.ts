/**
 * What a server does with frames, section by section of RFC 9113 and RFC 7541 (the cases of h2spec, and more). The cases
 * know nothing of the implementation: `/hit` is answered with 200 at once, `/held` never, and `/large/N` with N bytes.
 */
import {
  block,
  code,
  data,
  flag,
  frame,
  get,
  headers,
  integer,
  ping,
  post,
  preface,
  type Raw,
  reset,
  setting,
  settings,
  string,
  type,
  uint32,
  windowUpdate,
} from "./frames.ts";

/**
 * `goaway`: the connection ends, with one of these codes. `reset`: the stream ends with one of these codes, and the
 * connection stays. `response`: the stream gets a response, and the connection stays. `alive`: nothing happens. A
 * function looks for itself, and returns what is wrong.
 */
export type Expected =
  | { readonly goaway: readonly number[] }
  | { readonly reset: readonly number[]; readonly stream?: number }
  | { readonly response: number }
  | "alive"
  | ((raw: Raw) => Promise<string | undefined>);

export interface Case {
  /** Section and claim; unique. */
  readonly claim: string;
  readonly send: (raw: Raw) => void | Promise<void>;
  readonly expected: Expected;
  /** The client's settings. */
  readonly own?: readonly (readonly [id: number, value: number])[];
  /** Nothing was sent before: no preface, no settings. */
  readonly isRaw?: true;
}

const none = Buffer.alloc(0);
const get1 = headers(1, get());
/** A stream that stays open, because its request has not ended. */
const open1 = headers(1, post(), 0);
/** A stream whose response does not come. */
const held1 = headers(1, get("/held"));

const seen = (raw: Raw, wanted: number, stream: number): ReturnType<Raw["next"]> =>
  raw.next((one) => one.type === wanted && one.stream === stream);
/** Sends a request and waits for the end of its response. */
async function complete(raw: Raw, stream = 1): Promise<void> {
  raw.send(headers(stream, get()));
  await raw.next((one) => one.stream === stream && (one.flags & flag.endStream) !== 0);
}
/** Sends a request, resets it, and waits until the server has seen that. */
async function abandon(raw: Raw): Promise<void> {
  raw.send(open1, reset(1), ping("reset..."));
  await seen(raw, type.ping, 0);
}
const padded = (bytes: Buffer, padding: number): Buffer =>
  Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
const raw = (claim: string, send: Case["send"], expected: Expected): Case => ({ claim, send, expected, isRaw: true });
const one = (claim: string, sent: readonly Buffer[], expected: Expected, own: Case["own"] = []): Case => ({
  claim,
  send: (to) => {
    to.send(...sent);
  },
  expected,
  own,
});
const after = (claim: string, send: Case["send"], expected: Expected, own: Case["own"] = []): Case => ({
  claim,
  send,
  expected,
  own,
});
const goaway = (...codes: number[]): Expected => ({ goaway: codes });
const resets = (...codes: number[]): Expected => ({ reset: codes });
const ok: Expected = { response: 1 };
const { protocol, flowControl, streamClosed, frameSize, compression, refused } = code;

const connections: readonly Case[] = [
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

const states: readonly Case[] = [
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

const isPong = (frameOf: { type: number; flags: number }): boolean =>
  frameOf.type === type.ping && frameOf.flags === flag.ack;

const frames: readonly Case[] = [
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

async function firstDataIs(to: Raw, stream: number, length: number): Promise<string | undefined> {
  const first = await seen(to, type.data, stream);
  return first?.payload.length === length ? undefined : `${first?.payload.length} bytes`;
}

const windows: readonly Case[] = [
  one("6.9 WINDOW_UPDATE by 0 is a connection error", [windowUpdate(0, 0)], goaway(protocol)),
  one("6.9 WINDOW_UPDATE of a stream by 0 is a stream error", [open1, windowUpdate(1, 0)], resets(protocol)),
  one(
    "6.9 WINDOW_UPDATE of another length is a connection error",
    [frame(type.windowUpdate, 0, 0, Buffer.alloc(3))],
    goaway(frameSize),
  ),
  one("6.9.1 a window bounds what is sent", [get1], (to) => firstDataIs(to, 1, 1), [
    [setting.initialWindowSize, 1],
  ]),
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

const sections: readonly Case[] = [
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

/** A stream error of type PROTOCOL_ERROR (§8.1.1). */
const malformed = (claim: string, list: readonly string[]): Case => one(claim, [headers(1, list)], resets(protocol));
const without = (name: string): string[] => {
  const list = get();
  return list.toSpliced(list.indexOf(name), 2);
};
const withValue = (name: string, value: string): string[] => {
  const list = get();
  return list.with(list.indexOf(name) + 1, value);
};

const requests: readonly Case[] = [
  one(
    "8.1 a second HEADERS frame without END_STREAM is malformed",
    [open1, headers(1, ["a", "b"], 0)],
    resets(protocol),
  ),
  one("8.1 trailers are accepted", [headers(1, post("/echo"), 0), data(1, "body"), headers(1, ["a", "b"])], ok),
  one("8.1 trailers with a pseudo-header field are malformed", [open1, headers(1, [":path", "/"])], resets(protocol)),
  one(
    "8.1.1 a body that is longer than content-length is malformed",
    [headers(1, post("/held", "content-length", "1"), 0), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a body that is shorter than content-length is malformed",
    [headers(1, post("/held", "content-length", "9"), 0), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a body in several frames that is longer than content-length is malformed",
    [headers(1, post("/held", "content-length", "5"), 0), data(1, "four"), data(1, "four", flag.endStream)],
    resets(protocol),
  ),
  one(
    "8.1.1 a request without the body that it announces is malformed",
    [headers(1, post("/held", "content-length", "1"))],
    resets(protocol),
  ),
  malformed("8.2.1 a field name in upper case is malformed", get("/hit", "X-TEST", "ok")),
  malformed("8.2.1 a field name with a space is malformed", get("/hit", "x y", "ok")),
  malformed("8.2.1 an empty field name is malformed", get("/hit", "", "ok")),
  malformed("8.2.1 a field name with a control character is malformed", get("/hit", "x\x01", "ok")),
  malformed("8.2.1 a field name beyond ASCII is malformed", get("/hit", "x\xe4", "ok")),
  malformed("8.2.1 a field value with a NUL is malformed", get("/hit", "x", "a\0b")),
  malformed("8.2.1 a field value with a line feed is malformed", get("/hit", "x", "a\nb")),
  malformed("8.2.1 a field value with a carriage return is malformed", get("/hit", "x", "a\rb")),
  malformed("8.2.1 a field value with a space in front is malformed", get("/hit", "x", " a")),
  malformed("8.2.1 a field value with a tab behind is malformed", get("/hit", "x", "a\t")),
  malformed("8.2.2 Connection is malformed", get("/hit", "connection", "keep-alive")),
  malformed("8.2.2 Keep-Alive is malformed", get("/hit", "keep-alive", "timeout=5")),
  malformed("8.2.2 Proxy-Connection is malformed", get("/hit", "proxy-connection", "keep-alive")),
  malformed("8.2.2 Transfer-Encoding is malformed", get("/hit", "transfer-encoding", "chunked")),
  malformed("8.2.2 Upgrade is malformed", get("/hit", "upgrade", "websocket")),
  malformed("8.2.2 TE other than trailers is malformed", get("/hit", "te", "trailers, deflate")),
  one("8.2.2 TE may be trailers", [headers(1, get("/hit", "te", "trailers"))], ok),
  one("8.2.3 cookies may be split", [headers(1, get("/hit", "cookie", "a=b", "cookie", "c=d"))], ok),
  malformed("8.3 an unknown pseudo-header field is malformed", [":test", "ok", ...get()]),
  malformed("8.3 a pseudo-header field of responses is malformed", [":status", "200", ...get()]),
  malformed("8.3 a pseudo-header field behind others is malformed", ["x", "y", ...get()]),
  malformed("8.3.1 a request without :method is malformed", without(":method")),
  malformed("8.3.1 a request without :scheme is malformed", without(":scheme")),
  malformed("8.3.1 a request without :path is malformed", without(":path")),
  malformed("8.3.1 a request with an empty :path is malformed", withValue(":path", "")),
  malformed("8.3.1 a request whose :path has no slash is malformed", withValue(":path", "hit")),
  malformed("8.3.1 a request with two :method is malformed", [":method", "GET", ...get()]),
  malformed("8.3.1 a request with two :scheme is malformed", [":scheme", "http", ...get()]),
  malformed("8.3.1 a request with two :path is malformed", [":path", "/hit", ...get()]),
  malformed("8.3.1 a request with two :authority is malformed", [":authority", "x", ...get()]),
  malformed("8.3.1 an empty :authority is malformed", withValue(":authority", "")),
  malformed("8.3.1 user information in :authority is malformed", withValue(":authority", "me@x")),
  malformed("8.3.1 a space in :path is malformed", withValue(":path", "/hit HTTP/1.1")),
  malformed("8.3.1 a line end in :path is malformed", withValue(":path", "/hit\r\nx: y")),
  malformed("8.3.1 a method that is no token is malformed", withValue(":method", "GET /")),
  malformed("8.3.1 another Host than :authority is malformed", get("/hit", "host", "y")),
  one("8.3.1 Host may repeat :authority", [headers(1, get("/hit", "host", "x"))], ok),
  one("8.3.1 Host may stand for :authority", [headers(1, [...without(":authority"), "host", "x"])], ok),
  malformed("8.5 CONNECT with :path is malformed", withValue(":method", "CONNECT")),
  malformed("8.5 CONNECT without :authority is malformed", [":method", "CONNECT"]),
  one("8.5 CONNECT gets a status", [headers(1, [":method", "CONNECT", ":authority", "x:443"])], { response: 1 }),
  one(
    "8.6 an Upgrade from HTTP/1.1 does not exist: HTTP2-Settings is a field like others",
    [headers(1, get("/other", "http2-settings", "AAAA"))],
    ok,
  ),
];

const indexed = (index: number): Buffer => integer(index, 7, 0x80);
/** GET http / x, by the static table, and a literal for :authority. */
const compact = Buffer.concat([indexed(2), indexed(6), indexed(4), Buffer.from([0x01]), string("x")]);
const sectionOf = (...parts: Buffer[]): Buffer =>
  frame(type.headers, flag.endHeaders | flag.endStream, 1, Buffer.concat(parts));
const hpackError = goaway(compression);

const hpack: readonly Case[] = [
  one("7541 2.3.1 fields of the static table", [sectionOf(compact)], ok),
  one("7541 2.3.3 an index beyond both tables is an error", [sectionOf(compact, indexed(70))], hpackError),
  one(
    "7541 2.3.3 the same for the name of a literal",
    [sectionOf(compact, integer(70, 6, 0x40), string("x"))],
    hpackError,
  ),
  one(
    "7541 4.2 an update of the table size at the end of a section is an error",
    [sectionOf(compact, Buffer.from([0x20]))],
    hpackError,
  ),
  one(
    "7541 4.2 updates of the table size may begin a section",
    [sectionOf(Buffer.from([0x20]), integer(4096, 5, 0x20), compact)],
    ok,
  ),
  one(
    "7541 4.3 a table of size 0 keeps no field",
    [sectionOf(Buffer.from([0x20]), compact, Buffer.from([0x40]), string("a"), string("b"), indexed(62))],
    hpackError,
  ),
  one(
    "7541 4.4 a field that is larger than the table empties it",
    [
      sectionOf(
        compact,
        Buffer.from([0x40]),
        string("a"),
        string("b"),
        Buffer.from([0x40]),
        string("c"),
        string("d".repeat(4100)),
        indexed(62),
      ),
    ],
    hpackError,
  ),
  one(
    "7541 5.1 an integer that is too large is an error",
    [sectionOf(compact, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))],
    hpackError,
  ),
  one("7541 5.1 an integer that does not end is an error", [sectionOf(compact, Buffer.from([0xff, 0x80]))], hpackError),
  one(
    "7541 5.2 a string that is longer than the section is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("a"), Buffer.from([0x7e, 0x61]))],
    hpackError,
  ),
  one(
    "7541 5.2 a string may be coded by Huffman",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from("8cf1e3c2e5f23a6ba0ab90f4ff", "hex"))],
    ok,
  ),
  one(
    "7541 5.2 padding of a string of more than 7 bits is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x82, 0x1f, 0xff]))],
    hpackError,
  ),
  one(
    "7541 5.2 padding of a string with zeros is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x81, 0x18]))],
    hpackError,
  ),
  one(
    "7541 5.2 a string with the end symbol is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x84, 0xff, 0xff, 0xff, 0xff]))],
    hpackError,
  ),
  one("7541 6.1 index 0 is an error", [sectionOf(compact, indexed(0))], hpackError),
  one(
    "7541 6.2.1 an indexed literal is in the table of the next section",
    [
      sectionOf(compact, Buffer.from([0x40]), string("x-a"), string("1")),
      frame(type.headers, flag.endHeaders | flag.endStream, 3, Buffer.concat([compact, indexed(62)])),
    ],
    { response: 3 },
  ),
  one(
    "7541 6.2.3 a literal that is never indexed is not in the table",
    [sectionOf(compact, Buffer.from([0x10]), string("x-a"), string("1"), indexed(62))],
    hpackError,
  ),
  one(
    "7541 6.3 a table that is larger than allowed is an error",
    [sectionOf(integer(4097, 5, 0x20), compact)],
    hpackError,
  ),
  one(
    "7541 2.2 the section of a malformed request is decoded all the same",
    [
      sectionOf(
        compact,
        Buffer.from([0x40]),
        string("X"),
        string("1"),
        Buffer.from([0x40]),
        string("x-a"),
        string("1"),
      ),
      frame(type.headers, flag.endHeaders | flag.endStream, 3, Buffer.concat([compact, indexed(62)])),
    ],
    { response: 3 },
  ),
];

export const cases: readonly Case[] = [
  ...connections,
  ...states,
  ...frames,
  ...windows,
  ...sections,
  ...requests,
  ...hpack,
];

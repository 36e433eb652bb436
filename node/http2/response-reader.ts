/**
 * Reads the HTTP/1.1 responses of a connection (RFC 9112), piece by piece, and reports their parts as HTTP/2 has them.
 * Pure: it keeps at most one line of a head, and passes bodies on as they come. The time is linear, however the bytes
 * are split.
 *
 *   begin(isHead) ─▶ read(bytes) … ─▶ interim* head body* trailers? end
 *                                └─▶ broken: no response can be told from these bytes
 */

/** Called in order, while read() or close() runs. */
export interface ResponseEvents {
  /** A response before the final one (1xx). Fields are names and values in turn, in lower case. */
  readonly interim: (status: number, fields: readonly string[]) => void;
  readonly head: (status: number, fields: readonly string[]) => void;
  /** A part of the body: the bytes belong to whoever wrote them. */
  readonly body: (bytes: Buffer) => void;
  /** Fields behind the body (RFC 9110 §6.5). Not called when there are none. */
  readonly trailers: (fields: readonly string[]) => void;
  readonly end: () => void;
}

export interface ResponseReader {
  /** To be called before the first bytes of each response. `isHead`: of a HEAD request, so without a body. */
  readonly begin: (isHead: boolean) => void;
  /** @returns why these bytes are no response; undefined: they are one, or the beginning of one */
  readonly read: (bytes: Buffer) => string | undefined;
  /** No more bytes will come. @returns why the response is incomplete */
  readonly close: () => string | undefined;
}

/** A head has no more bytes; those of Node's server are much smaller. */
const headBytesMax = 256 * 1024;

/** Fields about the connection (RFC 9113 §8.2.2), which no response of HTTP/2 has. */
const connectionFields = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);

type Phase = "idle" | "status" | "fields" | "counted" | "until-close" | "size" | "chunk" | "after-chunk" | "trailers";

interface State {
  readonly events: ResponseEvents;
  phase: Phase;
  isHead: boolean;
  /** The beginning of a line, in the pieces in which it arrived. */
  line: Buffer[];
  /** Bytes of this head, or of the framing since the last bytes of the body. */
  framingBytes: number;
  status: number;
  fields: string[];
  length: number | undefined;
  isChunked: boolean;
  /** Bytes left of the body, or of the chunk. */
  left: number;
}

export function createResponseReader(events: ResponseEvents): ResponseReader {
  const state: State = {
    events,
    phase: "idle",
    isHead: false,
    line: [],
    framingBytes: 0,
    status: 0,
    fields: [],
    length: undefined,
    isChunked: false,
    left: 0,
  };
  return {
    begin(isHead) {
      state.isHead = isHead;
      expectHead(state);
    },
    read: (bytes) => read(state, bytes),
    close() {
      if (state.phase === "idle") return undefined;
      if (state.phase !== "until-close") return "the response is incomplete";
      end(state);
      return undefined;
    },
  };
}

function expectHead(state: State): void {
  state.phase = "status";
  state.line = [];
  state.framingBytes = 0;
  state.fields = [];
  state.length = undefined;
  state.isChunked = false;
}

function end(state: State): void {
  state.phase = "idle";
  state.events.end();
}

function read(state: State, bytes: Buffer): string | undefined {
  let at = 0;
  while (at < bytes.length) {
    switch (state.phase) {
      case "idle":
        return "there are bytes behind the response";
      case "until-close":
        state.events.body(at === 0 ? bytes : bytes.subarray(at));
        return undefined;
      case "counted":
      case "chunk":
        at += readBody(state, bytes, at);
        break;
      case "status":
      case "fields":
      case "size":
      case "after-chunk":
      case "trailers": {
        const lineEnd = bytes.indexOf(0x0a, at);
        const next = lineEnd === -1 ? bytes.length : lineEnd + 1;
        state.framingBytes += next - at;
        if (state.framingBytes > headBytesMax) return `the head has more than ${headBytesMax} bytes`;
        const piece = bytes.subarray(at, next);
        at = next;
        if (lineEnd === -1) {
          state.line.push(Buffer.from(piece)); // a copy, since its owner may write over it
          break;
        }
        const line = (state.line.length === 0 ? piece : Buffer.concat([...state.line, piece])).toString("latin1");
        if (state.line.length > 0) state.line = [];
        if (!line.endsWith("\r\n")) return "a line does not end with CRLF";
        const reason = readLine(state, line.slice(0, -2));
        if (reason !== undefined) return reason;
      }
    }
  }
  return undefined;
}

/** @returns how many bytes belong to the body */
function readBody(state: State, bytes: Buffer, at: number): number {
  const length = Math.min(state.left, bytes.length - at);
  state.left -= length;
  if (state.left === 0) state.framingBytes = 0;
  const isCounted = state.phase === "counted";
  if (state.left === 0 && !isCounted) state.phase = "after-chunk";
  state.events.body(bytes.subarray(at, at + length));
  if (state.left === 0 && isCounted) end(state);
  return length;
}

function readLine(state: State, line: string): string | undefined {
  switch (state.phase) {
    case "status":
      return readStatus(state, line);
    case "fields":
      return line === "" ? readBodyFraming(state) : readField(state, line);
    case "size":
      return readSize(state, line);
    case "after-chunk":
      state.phase = "size";
      return line === "" ? undefined : "a chunk is longer than it says";
    case "idle":
    case "counted":
    case "until-close":
    case "chunk":
    case "trailers":
      if (line !== "") return readTrailer(state, line);
      if (state.fields.length > 0) state.events.trailers(state.fields);
      end(state);
      return undefined;
  }
}

function readStatus(state: State, line: string): string | undefined {
  const match = /^HTTP\/1\.1 ([1-9]\d\d)(?: |$)/.exec(line);
  if (match === null) return "the status line is not valid";
  state.status = Number(match[1]);
  state.phase = "fields";
  return undefined;
}

const fieldLine = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*)$/;

function fieldOf(line: string): readonly [name: string, value: string] | undefined {
  const match = fieldLine.exec(line);
  return match === null ? undefined : [(match[1] ?? "").toLowerCase(), (match[2] ?? "").trimEnd()];
}

function readField(state: State, line: string): string | undefined {
  const field = fieldOf(line);
  if (field === undefined) return "a field line is not valid";
  const [name, value] = field;
  if (name === "transfer-encoding") {
    if (state.isChunked || value.toLowerCase() !== "chunked") return "the transfer coding is not chunked";
    state.isChunked = true;
  } else if (name === "content-length") {
    const length = Number(value);
    if (!/^\d{1,15}$/.test(value) || (state.length ?? length) !== length) return "the length is not valid";
    if (state.length !== undefined) return undefined;
    state.length = length;
  }
  if (!connectionFields.has(name)) state.fields.push(name, value);
  return undefined;
}

/** RFC 9112 §6.3 */
function readBodyFraming(state: State): string | undefined {
  const { status, fields, length, isChunked, isHead, events } = state;
  if (status === 101) return "the protocol changes";
  if (status < 200) {
    expectHead(state);
    events.interim(status, fields);
    return undefined;
  }
  if (isChunked && length !== undefined) return "the response has both a length and a transfer coding";
  const hasNoBody = isHead || status === 204 || status === 304 || length === 0;
  state.framingBytes = 0;
  state.fields = [];
  state.left = length ?? 0;
  if (!hasNoBody) state.phase = isChunked ? "size" : length === undefined ? "until-close" : "counted";
  events.head(status, fields);
  if (hasNoBody) end(state);
  return undefined;
}

function readSize(state: State, line: string): string | undefined {
  const match = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?$/.exec(line);
  if (match === null) return "the size of a chunk is not valid";
  state.left = Number.parseInt(match[1] ?? "", 16);
  state.phase = state.left === 0 ? "trailers" : "chunk";
  if (state.left > 0) state.framingBytes = 0;
  return undefined;
}

function readTrailer(state: State, line: string): string | undefined {
  const field = fieldOf(line);
  if (field === undefined) return "a trailer field is not valid";
  const [name, value] = field;
  if (!connectionFields.has(name)) state.fields.push(name, value);
  return undefined;
}

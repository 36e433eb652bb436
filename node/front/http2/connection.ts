/**
 * The records of an HTTP/2 connection and its streams (RFC 9113 §5). The other files of this folder work on them, and
 * do no I/O: whoever has the socket gives them its bytes, and is their host.
 *
 *   bytes ─▶ reading.ts ─▶ receiving.ts ─┬─▶ settings, windows, PING: answered in the host's output
 *            whole frames  sections.ts   └─▶ a request ─▶ host.request()
 *                                                             │ respond(), offer(), finish()
 *   bytes ◀─ host.flush() ◀─ output ◀─ sending.ts ◀───────────┘ streams in turn, one DATA frame each
 *
 * A stream is in `streams` while its request or its response is in progress. `forgotten` has the streams that this side
 * has closed early: what the client had sent them by then is no error.
 */
import { type Allowance, openAllowance } from "../../http2/allowance.ts";
import { type DynamicTable, newDynamicTable } from "./dynamic-table.ts";
import { windowFirst } from "./frame.ts";
import type { FieldList } from "./hpack-decoder.ts";
import type { Source } from "./source.ts";

export interface Stream {
  readonly id: number;
  /** What the client takes of its response; negative after SETTINGS that made it smaller. */
  sendWindow: number;
  /** The client's side has ended. */
  isRemoteClosed: boolean;
  /** What the client may still send of a body. */
  receiveWindow: number;
  /** Of the body so far, and according to Content-Length; −1: it does not say. */
  receivedBytes: number;
  announcedBytes: number;
  /** The final response has begun. */
  hasResponse: boolean;
  /** Where the body of the response comes from. */
  source: Source | null;
  /** Bytes of it that can be sent now. */
  readyBytes: number;
  /** Nothing follows them. */
  isWhole: boolean;
  /** It is in the connection's `turns`. */
  isInTurn: boolean;
  isClosed: boolean;
}

export interface Connection {
  phase: "preface" | "settings" | "open" | "failed";
  /** The incomplete frame, how much of it is here, and how much it takes. */
  frame: Buffer | null;
  frameBytes: number;
  frameNeeds: number;
  /** The incomplete field section, and which stream it is for; 0: there is none. */
  section: Buffer | null;
  sectionBytes: number;
  sectionStream: number;
  sectionFrames: number;
  isSectionLast: boolean;
  readonly table: DynamicTable;
  readonly streams: Map<number, Stream>;
  /** The highest that the client has opened. */
  lastStream: number;
  readonly forgotten: Set<number>;
  sendWindow: number;
  /** Of new streams: the client's setting. */
  initialWindow: number;
  receiveWindow: number;
  /** Received, and not yet granted again. */
  consumedBytes: number;
  /** The client has read our SETTINGS. */
  isAcknowledged: boolean;
  /** SETTINGS_HEADER_TABLE_SIZE of the client; −1: the next section says that our table is empty. */
  tableSize: number;
  /** Streams that have something to send, in the order of their turns. */
  turns: Stream[];
  /** The client does not take what was sent: nothing is read, or sent, until it does. */
  isBlocked: boolean;
  /** No new streams: this side, or the client, has said so. */
  hasSaidGoaway: boolean;
  /** The end is announced (sending.ts): streams that the client has opened before it knew are answered. */
  goaway: "none" | "announced" | "read";
  hasHeardGoaway: boolean;
  readonly resets: Allowance;
  readonly frames: Allowance;
}

/** Where frames are written. The host empties it. */
export interface Output {
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  /** Frames from `start` to here wait to be sent. */
  at: number;
}

export type Flood = "resets" | "frames";

/** What a connection needs of whoever owns its socket. */
export interface Host {
  readonly output: Output;
  readonly list: FieldList;
  /**
   * Sends the output, which is empty then. Sets `isBlocked` if the client does not take it.
   * @param hasMore a frame follows at once, and the flush after it: at most 16 KiB may stay until then
   */
  readonly flush: (connection: Connection, hasMore: boolean) => void;
  /** A request has begun: its fields are in `list` until this returns. */
  readonly request: (connection: Connection, stream: Stream) => void;
  /** Reads from a file into the output. False: they are not there, and the stream is reset. */
  readonly readFile: (file: number, offset: number, at: number, lengthBytes: number) => boolean;
  /** The stream is closed; its response may be incomplete. */
  readonly closed: (connection: Connection, stream: Stream) => void;
  /** A stream was reset by its client, or because of what it sent. False: its network does that too often. */
  readonly mayReset: (connection: Connection) => boolean;
  readonly flooded: (flood: Flood) => void;
  readonly malformed: () => void;
  readonly nowMs: () => number;
}

/** Two pages with a hundred pictures each that are left before they are complete. */
const resetsBurst = 200;
const resetsPerSecond = 20;
/** 4,000 PINGs at once, and a thousand a second. */
const frameBytesBurst = 64 * 1024;
const frameBytesPerSecond = 16 * 1024;

export function newConnection(nowMs: number): Connection {
  return {
    phase: "preface",
    frame: null,
    frameBytes: 0,
    frameNeeds: 0,
    section: null,
    sectionBytes: 0,
    sectionStream: 0,
    sectionFrames: 0,
    isSectionLast: false,
    table: newDynamicTable(),
    streams: new Map(),
    lastStream: 0,
    forgotten: new Set(),
    sendWindow: windowFirst,
    initialWindow: windowFirst,
    receiveWindow: windowFirst,
    consumedBytes: 0,
    isAcknowledged: false,
    tableSize: 4096,
    turns: [],
    isBlocked: false,
    hasSaidGoaway: false,
    goaway: "none",
    hasHeardGoaway: false,
    resets: openAllowance(resetsBurst, resetsPerSecond, nowMs),
    frames: openAllowance(frameBytesBurst, frameBytesPerSecond, nowMs),
  };
}

export const limits = {
  /** Requests of a connection at a time; browsers expect 100 or more (§6.5.2). */
  streamsMax: 100,
  /** What a client may send of a body that nobody reads. */
  streamWindow: 4096,
  /** Names and values of a request, with 32 bytes for each field. */
  listBytesMax: 64 * 1024,
  /** A cookie may be split into many fields. */
  fieldsMax: 256,
  /** Of a field section as it is sent. */
  sectionBytesMax: 64 * 1024,
  /** Frames of a field section: four are enough. */
  sectionFramesMax: 16,
  forgottenMax: 256,
  settingsMax: 32,
} as const;

/** What the connection holds of incomplete input, in bytes. */
export function heldBytesOf({ frame, section }: Connection): number {
  return (frame?.length ?? 0) + (section?.length ?? 0);
}

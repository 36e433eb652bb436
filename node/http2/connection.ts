/**
 * The records of an HTTP/2 connection and of all of them. The other files of this folder work on them.
 *
 *   HEADERS ─▶ waiting ── its turn ──▶ malformed? ─▶ RST_STREAM
 *                 │                    a hit? ─────▶ answered through a sink
 *                 │                    else ───────▶ relayed: HTTP/1.1 over a virtual connection to Node's server
 *                 └── reset by the client ──▶ forgotten; counts against the connection
 */
import type { LRUCache } from "lru-cache";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import type { Clock } from "#base/clock.ts";
import type { Sink } from "../deliver/sink.ts";
import type { Crowd } from "../front/crowd.ts";
import type { SessionTurns } from "../front/session-turns.ts";
import type { Allowance } from "./allowance.ts";
import type { Http2Counts } from "./counts.ts";
import type { PlainFields } from "./request-fields.ts";
import type { OpenedVirtual, VirtualConnection } from "./virtual-connection.ts";

/** A request that may be a hit. */
export interface PlainStream {
  readonly plain: PlainFields;
  readonly remoteAddress: string | undefined;
  /** Whether the connection uses TLS; the same name as in TLS sockets. */
  readonly encrypted: boolean;
  readonly sink: Sink;
}

/**
 * Answers a request, or declines it. "sent": the sink has the whole response. "relay": nothing was sent, and Node's
 * server is to answer. If a promise rejects, the stream is cut.
 */
export type AnswerPlain = (request: PlainStream) => "relay" | "sent" | Promise<"relay" | "sent">;

/** What HTTP/2 needs besides what the front needs, too. */
export interface Http2Options {
  readonly answer: AnswerPlain;
  readonly counts: Http2Counts;
  /** Whether clients are to open their next connection elsewhere: this one takes no requests after its response. */
  readonly isLeaving: () => boolean;
}

export interface Http2Parts extends Http2Options {
  /** Hands a connection to Node's server. */
  readonly serve: (connection: VirtualConnection) => void;
  readonly waits: { readonly headers: number; readonly idle: number };
  /** Idle connections make room for new ones. */
  readonly crowd: Crowd;
  readonly sessionTurns: SessionTurns;
  readonly clock: Clock;
}

/** A client's connection: a socket, or one whose socket belongs to a lane (front/lane/). */
export interface Http2Socket extends Duplex {
  readonly remoteAddress?: string | undefined;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Whether it uses TLS; the same name as in TLS sockets. */
  readonly encrypted?: boolean;
  readonly destroySoon: () => void;
}

export interface Connection {
  readonly socket: Http2Socket;
  readonly session: ServerHttp2Session;
  readonly remoteAddress: string | undefined;
  readonly encrypted: boolean;
  readonly network: () => string;
  /** Streams whose request has arrived and which are not closed yet. */
  readonly streams: Set<ServerHttp2Stream>;
  /** Requests that wait for their turn, the oldest first. */
  readonly waiting: Waiting[];
  readonly virtuals: Set<OpenedVirtual>;
  /** Whether a request of this connection has begun in this turn of the event loop. */
  hasBegun: boolean;
  hasAnswered: boolean;
  /** When the last stream was closed, or the connection was accepted. */
  sinceMs: number;
  /** Since when all its streams have been closed without the client having read that. */
  stuckSinceMs: number | null;
  readonly resets: Allowance;
  readonly frames: Allowance;
  /** Bytes of requests that have arrived since frames were charged for the last time. */
  requestBytes: number;
  /** What had been read and written then. */
  readonly charged: { readBytes: number; writtenBytes: number };
}

export interface Waiting {
  readonly stream: ServerHttp2Stream;
  /** Names and values in turn. */
  readonly list: readonly string[];
  readonly hasBody: boolean;
}

export interface State extends Http2Parts {
  readonly connections: Set<Connection>;
  /** What each client network may still reset, the one that did last at the end. */
  readonly networkResets: LRUCache<string, Allowance>;
  readonly date: () => string;
  isDraining: boolean;
}

/**
 * The records of a client connection and of the front that it belongs to. The other files of this folder work on them.
 *
 *            ┌────────────────── answered ◀───────────────┐
 *            ▼                                            │
 *   bytes ─▶ reading ── a whole request ── a hit? ────────┤ yes, and the system took the response
 *            ▲  │                           │             └ yes, but it takes time ─▶ answering ─▶ reading
 *            │  │                           └ no ─▶ relaying (this request alone) ─── answered ──┐
 *            │  │ odd bytes (request-head.ts)                                                    │
 *            │  └───────────────▶ relayed, to the end of the connection                          │
 *            └───────────────────────────────────────────────────────────────────────────────────┘
 */
import type { Clock } from "#base/clock.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { Crowd } from "./crowd.ts";
import type { CommonFields, LaneSink } from "./lane-sink.ts";
import type { Relay } from "./relay.ts";
import type { RequestHead } from "./request-head.ts";
import type { LineState } from "./request-line.ts";
import type { InLine, SessionTurns } from "./session-turns.ts";
import type { Holder, Unfinished } from "./unfinished.ts";

/** A request as the front hands it to whoever decides about it. Its bytes are its own, and are never overwritten. */
export interface FrontRequest {
  readonly bytes: Buffer;
  /** Describes this request until the answer returns. */
  readonly head: RequestHead;
  readonly socket: ClientConnection;
  readonly sink: LaneSink;
}

/**
 * Answers a request that the front has read, or declines it. "sent": the system has taken the whole response. "relay":
 * nothing was sent, and Node's server is to answer. If a promise rejects, the connection is closed, because a part of
 * the response may have been sent.
 */
export type Answer = (request: FrontRequest) => "relay" | "sent" | Promise<"relay" | "sent">;

export interface FrontParts {
  readonly answer: Answer;
  /** Hands a connection to Node's server. */
  readonly serve: (relay: Relay) => void;
  /** Whether Node's server has responses to send on a relay. */
  readonly isAnswering: (relay: Relay) => boolean;
  /** Answers bytes that are no request, or not in time, and closes the connection. */
  readonly refuse: (socket: ClientConnection, why: Refusal) => void;
  readonly waits: { readonly headers: number; readonly idle: number };
  /** Idle connections make room for new ones. */
  readonly crowd: Crowd;
  readonly sessionTurns: SessionTurns;
  readonly clock: Clock;
}

/** "late": the request head did not arrive in full in time. "line": the request line is not as in RFC 9112 §3. */
export type Refusal = "late" | "line";

/**
 * "waiting": for the next turn of the event loop. "in line": for a relay. "refused": the client gets its last response,
 * and what it still sends is dropped.
 */
export type Phase = "reading" | "waiting" | "answering" | "in line" | "relaying" | "relayed" | "refused";

export interface Connection extends Holder {
  readonly socket: ClientConnection;
  readonly sink: LaneSink;
  readonly isSecure: boolean;
  phase: Phase;
  /** Bytes that are not answered yet: the beginning of a request, or requests that wait. */
  rest: Buffer | null;
  relay: Relay | null;
  /** Waits for a relay. */
  inLine: InLine | null;
  /** How far the first request line is read that is relayed with everything behind it. */
  line: LineState;
  /** That Node's server has of requests which have not begun. */
  relayedBytes: number;
  /** Whether Node's parser has asked for more. */
  isWanted: boolean;
  /** Number of pieces in which the incomplete head has arrived. */
  pieces: number;
  /** Bytes that arrived after the client was refused. */
  droppedBytes: number;
  /** When the last response ended, or when the first byte of an incomplete request arrived. */
  sinceMs: number;
  hasAnswered: boolean;
  /** The client has closed its sending side. */
  isEnded: boolean;
}

/** A front, with all its connections. */
export interface State extends FrontParts {
  readonly connections: Set<Connection>;
  readonly byRelay: WeakMap<object, Connection>;
  readonly unfinished: Unfinished;
  readonly head: RequestHead;
  readonly common: CommonFields;
  isDraining: boolean;
}

/** Beyond this many bytes of waiting requests, the connection is not read. */
export const waitingBytesMax = 64 * 1024;

/** Resumes reading, unless enough bytes are waiting already. */
export function readOn({ rest, socket }: Connection): void {
  if (rest !== null && rest.length > waitingBytesMax) return;
  if (socket.isPaused()) socket.resume();
}

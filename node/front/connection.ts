/**
 * A client's connection, and the front that it belongs to: the records that the other files of this folder work on.
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
import type { Socket } from "node:net";
import type { Clock } from "#base/clock.ts";
import type { CommonFields, LaneSink } from "./lane-sink.ts";
import type { Relay } from "./relay.ts";
import type { RequestHead } from "./request-head.ts";
import type { Holder, Unfinished } from "./unfinished.ts";

/** What of a request the front hands to who decides; the bytes are the request's own and are never written again. */
export interface FrontRequest {
  readonly bytes: Buffer;
  /** Of this request until the answer returns. */
  readonly head: RequestHead;
  readonly socket: Socket;
  readonly sink: LaneSink;
}

/**
 * Answers a request that the front has read, or leaves it.
 * "sent": the system has the whole response. A promise: of whether it was answered, "relay" when nothing was sent.
 * When it fails, the connection is cut: a part of the response may have been sent.
 */
export type Answer = (request: FrontRequest) => "relay" | "sent" | Promise<"relay" | "sent">;

export interface FrontParts {
  readonly answer: Answer;
  /** Gives Node's server a connection. */
  readonly serve: (relay: Relay) => void;
  /** Answers a beginning of a request whose rest did not come in time, and closes the connection. */
  readonly tooLate: (socket: Socket) => void;
  readonly waits: { readonly headers: number; readonly idle: number };
  readonly clock: Clock;
}

/** "refused": it gets its last response, and what still comes is dropped. */
export type Phase = "reading" | "waiting" | "answering" | "relaying" | "relayed" | "refused";

export interface Connection extends Holder {
  readonly socket: Socket;
  readonly sink: LaneSink;
  phase: Phase;
  /** Bytes that were not answered yet: a beginning of a request, or requests that wait. */
  rest: Buffer | null;
  relay: Relay | null;
  /** That Node's server has of requests which have not begun. */
  relayedBytes: number;
  /** Whether Node's parser has asked for more. */
  isWanted: boolean;
  /** Pieces in which the beginning of a request has come. */
  pieces: number;
  /** Of what came after the client was refused. */
  droppedBytes: number;
  /** When the last response ended, or the first byte of a request came that is not whole. */
  sinceMs: number;
  hasAnswered: boolean;
  /** The client sends nothing more. */
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

/** Bytes of further requests that wait behind one that is being answered. */
export const waitingBytesMax = 64 * 1024;

/** Unless enough waits already. */
export function readOn({ rest, socket }: Connection): void {
  if (rest !== null && rest.length > waitingBytesMax) return;
  if (socket.isPaused()) socket.resume();
}

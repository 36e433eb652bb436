/**
 * The records of a lane: a thread that owns listening sockets and the connections of clients. The other files of this
 * folder work on them.
 *
 *   accept ─▶ client ── a whole request ─▶ ready? ── yes ─▶ answered here                    (an idle client: no pair)
 *               ▲                            └ no, or odd ─▶ session: all bytes go to main ──┐
 *               └──────────── "idle": nothing is in progress there ◀─────────────────────────┘
 *
 * Nothing here waits, and nothing accumulates: bytes that the client does not read stay in the pair, and bytes that the
 * main thread does not read stay with the client. Between the two is at most one buffer for each direction.
 */
import type { Handshakes } from "#base/handshakes.ts";
import type { OpenSsl } from "#base/openssl.ts";
import {
  epollEvent,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  type ArenaView,
  type StreamCalls,
} from "#base/system-calls.ts";
import type { ServedCertificate } from "../../tls/certificate.ts";
import type { CertificateIndex } from "../../tls/certificate-index.ts";
import type { ClientHello } from "../../tls/client-hello.ts";
import type { HandshakeLimits } from "../../tls/handshake-results.ts";
import type { NativeContexts } from "../../tls/native-contexts.ts";
import type { HeadEndsAt, ReadyAnswer } from "../ready/ready-answer.ts";
import type { ReadyMemory } from "../ready/ready-memory.ts";
import type { LaneLimits } from "./lane-limits.ts";
import type { ResponseReader } from "../../http2/response-reader.ts";
import type { Connection, Host, Stream } from "../http2/connection.ts";
import type { NetworkQueue } from "../network-queue.ts";
import type { Crowd } from "../crowd.ts";
import type { RequestHead } from "../request-head.ts";
import type { InLine } from "../session-turns.ts";
import type { Holder, Unfinished } from "../unfinished.ts";
import { layout } from "./layout.ts";
import type { Counts } from "./counts.ts";
import type { SeenBodies } from "./page-cache.ts";
import type { SentRing } from "./sent-ring.ts";

/** Something that epoll reports about. */
export interface Watched {
  readonly descriptor: number;
  /** Tells this one from an earlier one with the same descriptor. */
  readonly stamp: number;
  /** The events that epoll looks for. */
  watching: number;
}

/** A listening socket, and the rules for its clients. */
export interface ListeningSocket extends Watched {
  readonly id: number;
  readonly rules: ListenRules;
  openClients: number;
  readonly crowd: Crowd;
  /** No descriptor was left: not accepting until then. */
  pausedUntilMs: number;
  isDraining: boolean;
}

export interface ListenRules {
  /** Connections begin with a TLS handshake. */
  readonly isSecure: boolean;
  /** All clients speak HTTP/2 from their first byte, as tests do. With TLS, ALPN decides. */
  readonly isHttp2: boolean;
  readonly waitsMs: {
    /** For the whole head. */
    readonly headers: number;
    /** Between two requests. */
    readonly idle: number;
    /** For a client that takes nothing of its response. */
    readonly stalled: number;
  };
  /** A client that takes less of a response is too slow. */
  readonly bytesPerSecondMin: number;
  /** In this lane. */
  readonly connectionsMax: number;
}

/** What a client has not taken of a response. */
export interface Unsent {
  /** Bytes in memory, which go first, and from where on. */
  bytes: Buffer | null;
  at: number;
  /** Then those of a file; −1: none. The descriptor is this response's own. */
  file: number;
  offset: number;
  end: number;
  /** If the client has not taken everything by then, it is too slow. */
  readonly untilMs: number;
}

/** The TLS of a client's connection (channel.ts). */
export interface Secure {
  /** OpenSSL's object. */
  readonly ssl: number;
  /** A record that the client has not taken; it has to be given to OpenSSL again. */
  record: Buffer | null;
  /** OpenSSL has to write before it can read on. */
  readsAfterWrite: boolean;
  /** The system sends only full packets: more follows at once. */
  isCorked: boolean;
}

export interface Client extends Watched, Holder {
  readonly listening: ListeningSocket;
  /** Null: in the clear. */
  readonly secure: Secure | null;
  /** Null: HTTP/1.1. */
  http2: Http2 | null;
  /** TLS has read bytes ahead, of which epoll knows nothing. */
  isAhead: boolean;
  readonly address: string;
  readonly port: number;
  /** The beginning of a request. */
  rest: Buffer | null;
  /** Number of pieces in which it has arrived. */
  pieces: number;
  /** When the last response ended, or the first byte of the incomplete head arrived. */
  sinceMs: number;
  hasAnswered: boolean;
  /** The client has closed its sending side. */
  isEnded: boolean;
  /** Connects it to the main thread; null: the lane has it alone. */
  pair: Pair | null;
  /** The rest of a response of the lane's own. Until it is sent, the client is not read. */
  unsent: Unsent | null;
  /** `rest` begins with a whole request, whose turn comes, or waits for a session. */
  isWaiting: boolean;
  /** The main thread has to answer that the head in `rest` did not become complete. */
  isLate: boolean;
}

/** A connection whose TLS handshake is not complete (handshakes.ts). */
export interface Handshake extends Watched {
  readonly listening: ListeningSocket;
  readonly address: string;
  readonly port: number;
  readonly network: string;
  phase: "hello" | "turn" | "shaking" | "lingering";
  /** Bytes of the hello that were there at the last look. */
  seenBytes: number;
  hello: ClientHello | undefined;
  /** Names of the keys of the client's tickets. */
  ticketKeyNames: readonly string[];
  /** OpenSSL's object; 0: none yet. */
  ssl: number;
  /** When it is too late, or enough. */
  untilMs: number;
  /** Bytes that arrived after the 400. */
  droppedBytes: number;
}

/** The TLS of a lane (lane-tls.ts). */
export interface LaneTls {
  readonly ssl: OpenSsl;
  /**
   * Addresses of OpenSSL's objects, 0: none. Connections by their descriptor; behind the last possible one, contexts.
   * Whoever cleans up after the lane frees them.
   */
  readonly native: Float64Array;
  readonly contexts: NativeContexts;
  readonly limits: HandshakeLimits;
  /** Certificates by number, and what they are for; null: none have come. */
  readonly certificates: Map<number, ServedCertificate>;
  index: Pick<CertificateIndex, "byName" | "fallback"> | null;
  /** By descriptor. */
  readonly handshakes: Map<number, Handshake>;
  /** Those that are not complete. */
  readonly pending: Handshakes<Handshake>;
  /** Those of them that wait for their turn. */
  readonly queue: NetworkQueue<Handshake>;
  /** How many have begun in this turn. */
  begun: number;
  /** Steps of handshakes after the first one, by OpenSSL's object; only those with some. */
  readonly steps: Map<number, number>;
  /** Counts them from now on. */
  readonly countSteps: (ssl: number) => void;
  /** Certificates without a context are reported once. */
  readonly reported: WeakSet<ServedCertificate>;
  readonly report: (problem: string) => void;
}

/** A client's connection with HTTP/2 (http2-clients.ts). */
export interface Http2 extends Connection {
  readonly client: Client;
  /** Streams that have begun in this event, whose body belongs to a ready response. */
  borrowers: Stream[];
  readonly relays: Map<Stream, StreamRelay>;
  /** Requests that wait for a session. */
  inLineBytes: number;
  /** Copies of bodies of ready responses. */
  copiedBytes: number;
  /** Bodies of ready responses that have waited since all were sent. */
  waitingBytes: number;
  /** When the client is too slow, for streams that could not be sent at once. */
  readonly deadlines: Map<Stream, number>;
  /** The client's connection is no more. */
  isBroken: boolean;
  /** The client is told to open no new streams. */
  isLeaving: boolean;
  /** Since when. */
  announcedMs: number;
  /** The last frames are written; `hasEnded`: and sent. */
  isEnding: boolean;
  hasEnded: boolean;
  /** What the client has sent since. */
  droppedBytes: number;
}

/** A stream that the main thread answers (http2-relays.ts). */
export interface StreamRelay extends InLine, Pick<Client, "listening"> {
  /** The request, until there is a session. */
  request: Buffer | null;
  readonly http2: Http2;
  readonly stream: Stream;
  /** Null: the session is over. */
  pair: Pair | null;
  /** The main thread will offer the connection back. */
  isPlain: boolean;
  readonly reader: ResponseReader;
  /** Field sections that have arrived, and are not sent yet. */
  heads: { readonly section: Buffer; readonly isInterim: boolean }[];
  /** Bytes of the body that have arrived, and are not offered to the stream yet. */
  arrivedBytes: number;
  /** These and what the stream has not sent, as the lane counts them. */
  countedBytes: number;
  /** What the stream had not sent when it was looked at last. */
  seenBytes: number;
  isComplete: boolean;
  /** The response can't be completed: the stream is reset with this code. */
  cutWith: number | null;
}

/** What all clients with HTTP/2 share. */
export interface LaneHttp2 {
  readonly host: Host;
  /** The parts of a plain request. */
  readonly text: Buffer;
  /** Clients for whose streams something has arrived from the main thread. */
  readonly touched: Set<Client>;
  /** Streams that the main thread answers, also by client network. */
  relays: number;
  readonly relaysByNetwork: Map<string, number>;
}

/** Whoever gets what the main thread sends in a session, instead of a client's connection. */
export interface SessionUser {
  /**
   * Takes bytes of the response, which are at this offset in the lane's memory.
   * @returns how many are done with. The others wait until readPair() is called.
   */
  readonly give: (at: number, lengthBytes: number) => number;
  /** The main thread has answered all that was sent. */
  readonly idle: () => void;
  /** The session is over. */
  readonly closed: () => void;
}

/** The responses that a lane can send itself. */
export interface LaneReady {
  readonly memory: ReadyMemory;
  /** Where that memory is. */
  readonly address: number;
  /** This lane's number among the readers of that memory. */
  readonly index: number;
  readonly sent: SentRing;
}

export interface Pair extends Watched {
  /** "open": a session; "leaving": the lane waits for its "closed"; "free": no session; "closed": no pair any more. */
  phase: "free" | "open" | "leaving" | "closed";
  client: Client | null;
  /** The main thread has not taken the session yet (session-turns.ts). */
  isNew: boolean;
  /** In the place of a client. */
  user: SessionUser | null;
  /** The user has the whole response. */
  isUserDone: boolean;
  /** The client's bytes that were sent in this session. */
  sentBytes: number;
  /** The main thread has answered all of them: the lane reads requests itself. */
  isQuiet: boolean;
  /** A response is in progress there. Otherwise, only the beginning of a request is. */
  isBusy: boolean;
  /** Since when it is quiet, or leaving. */
  sinceMs: number;
  /** Frames that the pair has not taken. While there are some, the client is not read. */
  toMain: Buffer | null;
  /** Bytes of the main thread that are not handled yet: an incomplete frame head, or what the client has not taken. */
  fromMain: Buffer | null;
  /** While the client takes nothing, the pair is not read. */
  isClientFull: boolean;
  fullSinceMs: number;
  /** What is missing of the data frame that is being read. */
  leftBytes: number;
}

export interface Lane {
  readonly calls: StreamCalls;
  readonly memory: ArenaView;
  readonly bytes: Buffer;
  readonly words: Int32Array;
  readonly epoll: number;
  /** By descriptor: 1 if it is this lane's. Whoever cleans up after the lane closes them. */
  readonly owned: Uint8Array;
  readonly counts: Counts;
  readonly limits: LaneLimits;
  readonly listening: Map<number, ListeningSocket>;
  readonly clients: Map<number, Client>;
  readonly pairs: Map<number, Pair>;
  readonly freePairs: Pair[];
  /** Those with a session in which nothing is in progress, the longest first. */
  readonly quietPairs: Set<Pair>;
  /** What clients have not taken, in all pairs. */
  waitingBytes: number;
  readonly head: RequestHead;
  /** Incomplete heads. */
  readonly unfinished: Unfinished;
  /** Null: the main thread answers everything. */
  readonly ready: LaneReady | null;
  /** What clients have not taken of responses in memory. */
  unsentBytes: number;
  readonly answer: ReadyAnswer;
  readonly seenBodies: SeenBodies;
  readonly headEndsAt: HeadEndsAt;
  /** Clients with requests that wait for the next turn. */
  waiting: Client[];
  /** Clients and streams that wait for a session. */
  readonly inLine: NetworkQueue<Client | StreamRelay>;
  /** Sessions that the main thread has not taken yet. */
  newSessions: number;
  /** Clients of whom TLS has bytes that the lane can read now. */
  readonly ahead: Set<Client>;
  /** Null: this lane has no TLS. */
  readonly tls: LaneTls | null;
  /** Null: nobody has used HTTP/2 yet. */
  http2: LaneHttp2 | null;
  wallMs: number;
  nowMs: number;
  stamps: number;
  /** Gives the other end of a new pair to the main thread. */
  readonly offer: (descriptor: number) => void;
  /** Tells the main thread that no client of a listener is left. */
  readonly drained: (id: number) => void;
}

export function nextStamp(lane: Lane): number {
  lane.stamps = (lane.stamps + 1) % 2 ** 31;
  return lane.stamps;
}

export function watch(lane: Lane, watched: Watched, events: number): void {
  control(lane, EPOLL_CTL_ADD, watched, events);
}

/** Changes what epoll looks for. Errors and hang-ups are always reported. */
export function watchFor(lane: Lane, watched: Watched, events: number): void {
  if (watched.watching !== events) control(lane, EPOLL_CTL_MOD, watched, events);
}

/** From now on, nothing of it is reported. */
export function unwatch(lane: Lane, watched: Watched): void {
  control(lane, EPOLL_CTL_DEL, watched, 0);
}

function control(lane: Lane, operation: number, watched: Watched, events: number): void {
  const { words, memory, calls, epoll } = lane;
  const { descriptor, stamp } = watched;
  watched.watching = events;
  words[(layout.control + epollEvent.events) / 4] = events;
  words[(layout.control + epollEvent.data) / 4] = descriptor;
  words[(layout.control + epollEvent.data) / 4 + 1] = stamp;
  calls.controlEpoll(epoll, operation, descriptor, memory.address + layout.control);
}

/** Closes a descriptor of this lane. */
export function close({ calls, owned }: Lane, descriptor: number): void {
  // First the note: a descriptor that is closed twice may be another one's by then.
  owned[descriptor] = 0;
  calls.close(descriptor);
}

/** A copy of the lane's memory. */
export function copyOf({ bytes }: Lane, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start); // not a part of a pool, which it would keep
  bytes.copy(copy, 0, start, end);
  return copy;
}

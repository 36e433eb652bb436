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
import {
  epollEvent,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  type ArenaView,
  type StreamCalls,
  socketAddress,
} from "#base/system-calls.ts";
import type { HeadEndsAt, ReadyAnswer } from "../ready/ready-answer.ts";
import type { ReadyMemory } from "../ready/ready-memory.ts";
import type { RequestHead } from "../request-head.ts";
import type { Holder, Unfinished } from "../unfinished.ts";
import { beginBytesMax, frameHeadBytes } from "./frames.ts";
import type { Counts } from "./counts.ts";
import type { SentRing } from "./sent-ring.ts";

/** Events per wake-up. */
export const eventsMax = 256;
/** How much is read from a client at once, while the lane reads its requests. */
export const receiveBytes = 64 * 1024;
/** The same while the main thread does, and so the most that waits for it besides the sockets. */
export const passedBytes = 16 * 1024;
/** A longer head of a response is left to the main thread. */
export const headBytesMax = 16 * 1024;
/** How much is read from a pair at once, and so the most that waits for a slow client besides the sockets. */
export const pairReceiveBytes = 64 * 1024;
/** The same while more than this waits for all clients. */
export const scarcePairReceiveBytes = 4096;
export const waitingBytesMax = 16 * 1024 * 1024;

/** Offsets in the lane's arena. */
export const layout = (() => {
  let end = 0;
  const take = (sizeBytes: number): number => {
    const at = end;
    end += Math.ceil(sizeBytes / 64) * 64;
    return at;
  };
  return {
    events: take(eventsMax * epollEvent.sizeBytes),
    /** One epoll_event, or the value of an option, or two descriptors. */
    control: take(64),
    address: take(socketAddress.roomBytes),
    addressLength: take(4),
    /** A frame without data. */
    frame: take(frameHeadBytes),
    /** Before the bytes of a client there is room for the frames that pass them on. */
    frameRoom: take(beginBytesMax + 2 * frameHeadBytes),
    receive: take(receiveBytes),
    fromPair: take(pairReceiveBytes),
    /** For responses of the lane's own: a head, `struct msghdr`, two `struct iovec`, an offset in a file. */
    responseHead: take(headBytesMax),
    message: take(64),
    vectors: take(32),
    fileOffset: take(8),
    /** `struct iovec` of a byte, and the byte. */
    probeVector: take(16),
    probe: take(1),
    sizeBytes: end,
  };
})();

/** Something that epoll reports about. */
interface Watched {
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
  /** No descriptor was left: not accepting until then. */
  pausedUntilMs: number;
  isDraining: boolean;
}

export interface ListenRules {
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

export interface Client extends Watched, Holder {
  readonly listening: ListeningSocket;
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
  readonly headEndsAt: HeadEndsAt;
  /** Clients with requests that wait for the next turn. */
  waiting: Client[];
  /** Clients that wait for a session, by network; the first has waited longest for a turn. */
  readonly inLine: Map<string, Set<Client>>;
  /** Sessions that the main thread has not taken yet. */
  newSessions: number;
  readonly newSessionsMax: number;
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

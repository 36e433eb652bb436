/**
 * What one lane may hold. All lanes together have the same limits, whatever their number: each has its share. The
 * descriptors of streams are also bounded by the limit on open files, of which the lane's connections have their part
 * already (base/open-files.ts).
 */
import { openFilesMax } from "#base/open-files.ts";
import { newSessionsMax } from "../session-turns.ts";
import { unfinishedBytesMax } from "../unfinished.ts";

/** Copies of what clients have not taken of the lanes' own responses. */
const unsentBytesMax = 32 * 1024 * 1024;
/** What clients have not taken of responses of the main thread, besides the sockets' buffers. */
const waitingBytesMax = 16 * 1024 * 1024;
/** Streams of HTTP/2 that the main thread answers. Each has a pair of sockets. */
const relaysMax = 4096;
/** Pairs for streams take at most an eighth of the open files. */
const openFilesPerRelay = 16;

export interface LaneLimits {
  /** Incomplete heads. */
  readonly unfinishedBytesMax: number;
  /** Sessions that the main thread has not taken yet. */
  readonly newSessionsMax: number;
  /** Beyond, the lane answers only what the system takes at once. */
  readonly unsentBytesMax: number;
  /** Beyond, little is read from a pair at once. */
  readonly waitingBytesMax: number;
  /** A client network with more than are free, and more than its share, is refused. */
  readonly relaysMax: number;
}

/** @param share number of lanes */
export function limitsOfLane(share: number, openFiles = openFilesMax()): LaneLimits {
  return {
    unfinishedBytesMax: unfinishedBytesMax / share,
    newSessionsMax: Math.max(1, Math.floor(newSessionsMax / share)),
    unsentBytesMax: unsentBytesMax / share,
    waitingBytesMax: waitingBytesMax / share,
    relaysMax: Math.max(1, Math.floor(Math.min(relaysMax, openFiles / openFilesPerRelay) / share)),
  };
}

/**
 * The body of a response on its way from an origin into the cache: how much of it may be in memory (fill-room.ts), when
 * it is trusted, and how the rest is fetched when the source fails or a reader has fallen behind. asset-fetch.ts begins
 * it once the head has arrived; cache/fill.ts has the mechanics.
 */
import type { BodyReader } from "#base/body.ts";
import type { Clock } from "#base/clock.ts";
import type { BodyWriter } from "../cache/disk/body-writer.ts";
import { type Fill, startFill } from "../cache/fill.ts";
import type { FillSource } from "../cache/fill-state.ts";
import type { Tiers } from "../cache/tiers.ts";
import { openChunkTurns, type Turns } from "../deliver/turns.ts";
import { fieldOf, type RequestFields } from "../fetch/asset.ts";
import { type Arrived, drop, lengthOf } from "./asset-answer.ts";
import { notesOf } from "./asset-key.ts";
import type { AssetHead } from "./asset-response.ts";
import { bufferSource, readerSource, skipping, sourceOf } from "./asset-source.ts";
import { type FillCounts, type FillRoom, type FillRooms, openFillRooms, type RoomWish } from "./fill-room.ts";
import { readFill } from "./rest-reader.ts";

export interface AssetFill {
  readonly fill: Fill<BodyWriter>;
  /** A reader of the fill, or of a fetch of its own once it has fallen behind. */
  readonly open: (start: number, end: number | null) => BodyReader;
  /** There is a disk that accepts it, or memory for all of it. */
  readonly hasRoom: boolean;
  /** Readers may come and go at different times: whoever falls behind can get the rest. */
  readonly isShareable: boolean;
}

export interface AssetFills {
  /**
   * @throws NearcastError ORIGIN_BUSY: no room; or the failure of a body that would replace a usable one and fails
   *   before it is trusted
   */
  readonly begin: (body: Beginning) => Promise<AssetFill>;
  readonly counts: () => FillCounts;
}

interface Beginning {
  readonly arrived: Arrived;
  readonly head: AssetHead;
  readonly timeoutMs: number;
  /** A larger body is not stored. */
  readonly bytesMax: number;
  /** It may go to disk. */
  readonly isForDisk: boolean;
  /** There is a stored response that can be used instead if this one fails. */
  readonly isReplaceable: boolean;
  /** The client network that it was begun for, whose share of the memory for fills it uses. */
  readonly network: string;
  /** Aborted when nobody waits for the response any more. */
  readonly signal: AbortSignal;
  /** Who can be asked for a part of the same body, nearest first. Null: this one can't now. */
  readonly restWays: readonly RestWay[];
}

/** @throws NearcastError ORIGIN_* */
export type RestWay = (fields: Record<string, string>, signal: AbortSignal) => Promise<Arrived | null>;

interface State {
  readonly tiers: Tiers;
  readonly clock: Clock;
  /** Turns for chunks that arrive from origins. */
  readonly turns: Turns;
  readonly rooms: FillRooms;
}

/** How long a fill waits for its first reader: it holds a connection meanwhile, maybe for a client that has left. */
const graceMs = 250;
/** How much of a response must arrive before it replaces a stored one that can still be used. */
const trustedBytes = 256 * 1024;
/**
 * A body that nobody waits for is fetched to its end if no more than this is missing, and it is likely to come within
 * this time, and as long as this lasts: a body that drips would hold its connection for hours.
 */
const [abandonedBytesMax, abandonedMsMax] = [1024 * 1024, 1000];

export function createAssetFills(tiers: Tiers, clock: Clock): AssetFills {
  const rooms = openFillRooms({ hasDisk: tiers.hasDisk, clock });
  const state: State = { tiers, clock, turns: openChunkTurns(), rooms };
  return { begin: (body) => begin(state, body), counts: rooms.counts };
}

async function begin(state: State, body: Beginning): Promise<AssetFill> {
  const { arrived, head, network, timeoutMs, bytesMax } = body;
  const lengthBytes = lengthOf(arrived);
  const keepBytesMax = Math.min(bytesMax, state.tiers.memoryBodyBytesMax);
  const room = await roomFor(state, body, { lengthBytes, keepBytesMax });
  // The rest of a body can be requested only with its validator.
  if (strongEtagOf(body) !== null) arrived.endIfFrozen?.();
  let place: BodyWriter | null = null;
  const { clock } = state;
  const begunMs = clock.monotonicMs();
  let leftMs: number | null = null;
  const { fill, release } = startFill({
    source: sourceOf(arrived.body, timeoutMs, state.turns, network),
    lengthBytes,
    bytesMax,
    // Its room may shrink.
    get keepBytesMax() {
      return Math.min(keepBytesMax, room.bytes);
    },
    get windowBytesMax() {
      return room.bytes;
    },
    openPlace() {
      place = body.isForDisk ? (state.tiers.write(head.key, lengthBytes) ?? null) : null;
      return place;
    },
    get abandonedBytesMax(): number {
      const nowMs = clock.monotonicMs();
      const bytesPerMs = fill.arrivedBytes() / Math.max(1, nowMs - begunMs);
      const msLeft = Math.max(0, abandonedMsMax - (nowMs - (leftMs ?? nowMs)));
      return Math.min(abandonedBytesMax, bytesPerMs * msLeft);
    },
    resume: (offset, ending) => restOf(state, body, offset, ending),
  });
  room.hold(fill);
  /** Readers that remain keep the fill. */
  const leave = (): void => {
    leftMs = clock.monotonicMs();
    release();
    if (fill.arrivedBytes() !== lengthBytes && fill.failure() === undefined) clock.after(abandonedMsMax, release);
  };
  try {
    if (body.isReplaceable) await untilTrusted(fill);
  } finally {
    clock.after(graceMs, () => {
      if (leftMs === null) leave();
    });
  }
  const hasRoom = place !== null || lengthBytes === null || lengthBytes <= Math.min(keepBytesMax, room.bytes);
  const restFor = async (offset: number, ending: AbortSignal): Promise<FillSource | undefined> =>
    (await storedFrom(state, body, offset)) ?? (await restOrAll(state, body, offset, ending));
  // One of unknown length is most often small. Another node shares what comes from it among those who ask there.
  const isShareable = strongEtagOf(body) !== null || (lengthBytes === null ? body.isForDisk : hasRoom);
  const open = (start: number, end: number | null): BodyReader =>
    leaving(readFill(fill, { start, end }, restFor), leave);
  return { fill, open, hasRoom, isShareable };
}

/** The reader; `leave` is called in the turn in which it is closed. */
function leaving(reader: BodyReader, leave: () => void): BodyReader {
  let isClosed = false;
  return {
    ready: () => reader.ready(),
    next: (bytesMax) => reader.next(bytesMax),
    close() {
      if (isClosed) return;
      isClosed = true;
      reader.close();
      leave();
    },
  };
}

/** @throws NearcastError ORIGIN_BUSY; the response was given up then */
async function roomFor(
  { rooms }: State,
  { arrived, network, signal }: Beginning,
  wish: Pick<RoomWish, "lengthBytes" | "keepBytesMax">,
): Promise<FillRoom> {
  try {
    return await rooms.take({ ...wish, network, signal });
  } catch (error) {
    drop(arrived);
    throw error;
  }
}

/** The rest of a body that has been stored meanwhile. */
async function storedFrom({ tiers }: State, body: Beginning, offset: number): Promise<FillSource | undefined> {
  const stored = await tiers.find(body.head.key, false);
  const etag = strongEtagOf(body);
  if (stored === undefined || etag === null || notesOf(stored).etag !== etag) return undefined;
  return stored.body.kind === "bytes"
    ? bufferSource(stored.body.bytes.subarray(offset))
    : readerSource(stored.body.open(offset, null));
}

/**
 * A response that replaces a usable one is delivered once its beginning, or all of it, has arrived. If it fails before
 * that, the client gets the stored response. @throws the failure of the fill
 */
async function untilTrusted(fill: Fill): Promise<void> {
  await fill.untilArrived(trustedBytes);
  const failure = fill.failure();
  if (failure !== undefined) throw failure;
}

/**
 * The rest of a body, straight from the origin, if it still has the same bytes (RFC 9110 §13.1.5). Undefined: it is not
 * available.
 */
async function restOf(
  state: State,
  body: Beginning,
  offset: number,
  ending: AbortSignal,
): Promise<FillSource | undefined> {
  // A source that has brought nothing is not asked again.
  if (offset === 0) return undefined;
  const answer = await sameBytesFrom(body, offset, ending);
  if (answer === undefined) return undefined;
  if (isRest(answer, offset)) return sourceOf(answer.body, body.timeoutMs, state.turns, body.network);
  drop(answer);
  return undefined;
}

/**
 * Like restOf(). From an origin without ranges: the whole body without its beginning, since no source has failed here.
 */
async function restOrAll(
  state: State,
  body: Beginning,
  offset: number,
  ending: AbortSignal,
): Promise<FillSource | undefined> {
  const answer = await sameBytesFrom(body, offset, ending);
  if (answer === undefined) return undefined;
  const source = sourceOf(answer.body, body.timeoutMs, state.turns, body.network);
  if (isRest(answer, offset)) return source;
  if (answer.statusCode === 200) return skipping(source, offset);
  drop(answer);
  return undefined;
}

function strongEtagOf({ head }: Beginning): string | null {
  const { etag } = notesOf(head);
  return etag === null || etag.startsWith("W/") ? null : etag;
}

/** The first answer that is of the same bytes. Undefined: nobody has them. */
async function sameBytesFrom(body: Beginning, offset: number, ending: AbortSignal): Promise<Arrived | undefined> {
  const etag = strongEtagOf(body);
  if (etag === null) return undefined;
  for (const ask of body.restWays) {
    if (ending.aborted) return undefined;
    try {
      const answer = await ask({ range: `bytes=${offset}-`, "if-range": etag }, ending);
      if (answer === null) continue;
      if (fieldOf(answer.headers, "etag") === etag && (answer.statusCode === 206 || answer.statusCode === 200)) {
        answer.endIfFrozen?.();
        return answer;
      }
      drop(answer);
    } catch {
      // The failure that made this necessary is the one to report.
    }
  }
  return undefined;
}

function isRest({ statusCode, headers }: Arrived, offset: number): boolean {
  return statusCode === 206 && isFromOffsetToEnd(headers, offset);
}

/** A server may send less than requested (RFC 9110 §15.3.7); a part without its end would be mistaken for the whole. */
function isFromOffsetToEnd(headers: RequestFields, offset: number): boolean {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(fieldOf(headers, "content-range") ?? "");
  return match !== null && Number(match[1]) === offset && Number(match[2]) + 1 === Number(match[3]);
}

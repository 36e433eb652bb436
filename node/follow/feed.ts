/**
 * Following the origin's feed: a numbered, durable log of changes for the edges to apply (purges, new fleet documents).
 *
 *   disconnected ──hello──▶ replaying ──position = latest at hello──▶ live
 *        ▲                      │                                      │
 *        └──────── silence longer than silenceMsMax, or an error ◀─────┘        (retries after a growing pause)
 *
 * Invariants
 * - Events are applied one by one, in order. The position is saved after an event is applied, never before, and a
 *   purge is on disk by then. After a
 *   crash between the two, the event is applied twice, which is harmless: a second purge, or the same fleet document
 *   again.
 * - While `replaying`, nothing may be served that a pending event could affect: gate() says when to wait.
 * - A feed of another origin, or one that no longer has the events that this edge missed, causes a reset: the whole
 *   cache is dropped.
 */
import type { Readable } from "node:stream";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { questionEventKind } from "./channel/messages.ts";
import { createEventStreamReader, type ServerSentEvent } from "./event-stream.ts";

/** The origin, and this edge's position in its feed. */
export interface FeedPosition {
  originId: string;
  seq: number;
}

export interface FeedEvent {
  seq: number;
  kind: string;
  data: unknown;
}

/** The origin sends something at least every two seconds. */
const silenceMsMax = 7000;
/** While events are replayed, the position is saved this often; after a crash, those since are applied again. */
const saveIntervalMs = 1000;
const pauseMsMin = 200;
const pauseMsMax = 5000;

export type FeedState = "disconnected" | "replaying" | "live";

export interface FeedFollower {
  state: () => FeedState;
  position: () => FeedPosition | null;
  /** Milliseconds (monotonic) at which the origin last sent something; null: never. */
  heardAtMs: () => number | null;
  /** While events are being replayed, a promise to await before anything cached is served; otherwise null. */
  gate: () => Promise<void> | null;
  /** Resolves when the first attempt to reach the origin has succeeded or failed. */
  firstContact: Promise<void>;
  close: () => Promise<void>;
}

export interface FeedOptions {
  /** `since` null: only new events. */
  open: (since: number | null, signal: AbortSignal) => Promise<Readable>;
  /** Null: this edge has never followed a feed, so nothing cached can be trusted. */
  position: FeedPosition | null;
  save: (position: FeedPosition) => Promise<void>;
  apply: (event: FeedEvent) => Promise<void>;
  /**
   * Called when everything cached is outdated, and possibly the fleet document, too.
   * @param seq the position from then on
   */
  reset: (reason: string, seq: number) => Promise<void>;
  /**
   * Called with the nonce of a new connection; null: the connection has ended, or the origin's release has no nonces.
   */
  connected?: (channel: string | null) => void;
  /** Called when gate() begins to say that something is to be waited for, and when it ends. */
  gated?: (isGated: boolean) => void;
  /** Called with a question that arrived over this connection. Questions are not events. Must not throw. */
  asked?: (question: unknown) => void;
  clock: Clock;
  random: Random;
  log: Log;
}

/** The state of following the feed, in one record. */
interface Follow {
  readonly options: FeedOptions;
  position: FeedPosition | null;
  state: FeedState;
  heardAtMs: number | null;
  /** When the position was saved last. */
  savedMs: number;
  /** The number up to which missed events are replayed. */
  replayTarget: number;
  /** Why the connection failed, as logged last; undefined: it has been live since. */
  loggedReason: string | undefined;
  gate: PromiseWithResolvers<void>;
  readonly firstContact: PromiseWithResolvers<void>;
  readonly ending: AbortController;
}

export function followFeed(options: FeedOptions): FeedFollower {
  const follow: Follow = {
    options,
    position: options.position,
    state: "disconnected",
    heardAtMs: null,
    savedMs: -Infinity,
    replayTarget: 0,
    loggedReason: undefined,
    gate: Promise.withResolvers<void>(),
    firstContact: Promise.withResolvers<void>(),
    ending: new AbortController(),
  };
  const following = keepFollowing(follow);
  return {
    state: () => follow.state,
    position: () => follow.position,
    heardAtMs: () => follow.heardAtMs,
    gate: () => (follow.state === "replaying" ? follow.gate.promise : null),
    firstContact: follow.firstContact.promise,
    async close() {
      follow.ending.abort(new Error("closing"));
      await following;
    },
  };
}

async function keepFollowing(follow: Follow): Promise<void> {
  const { options, ending } = follow;
  let pauseMs = pauseMsMin;
  while (!ending.signal.aborted) {
    let wasLive = false;
    try {
      await followOnce(follow);
    } catch (error) {
      if (ending.signal.aborted) return;
      logBreak(follow, (error as Error).message);
    } finally {
      wasLive = follow.state === "live";
      enter(follow, "disconnected");
      follow.firstContact.resolve();
    }
    pauseMs = wasLive ? pauseMsMin : Math.min(pauseMs * 2, pauseMsMax);
    // If it is closed in the meantime, the loop ends as well.
    await sleep(options.clock, pauseMs * (0.5 + options.random() / 2), ending.signal).catch(() => undefined);
  }
}

/** Follows the feed over one connection; throws when the connection fails. */
async function followOnce(follow: Follow): Promise<void> {
  const { options, ending } = follow;
  const { clock } = options;
  const connection = new AbortController();
  const signal = AbortSignal.any([ending.signal, connection.signal]);
  let cancel: Cancel | undefined;
  const heard = (): void => {
    cancel?.();
    cancel = clock.after(silenceMsMax, () => {
      connection.abort(new Error(`nothing heard for ${silenceMsMax / 1000} s`));
    });
  };
  heard();
  try {
    const read = createEventStreamReader();
    for await (const bytes of (await options.open(follow.position?.seq ?? null, signal)) as AsyncIterable<Buffer>) {
      heard();
      follow.heardAtMs = clock.monotonicMs();
      for (const event of read(bytes)) await take(follow, event);
    }
  } finally {
    cancel?.();
    options.connected?.(null);
  }
}

async function take(follow: Follow, { event, id, data }: ServerSentEvent): Promise<void> {
  const { options, position } = follow;
  const value = parseForeignJson(data);
  if (event === "hello") {
    await takeHello(follow, value);
    return;
  }
  if (position === null || follow.state === "disconnected") throw new Error("the feed did not begin with hello");
  if (event === questionEventKind) {
    options.asked?.(value);
    return;
  }
  if (event === "reset") {
    await options.reset("the origin no longer has what this edge missed", follow.replayTarget);
    await reached(follow, position.originId, follow.replayTarget);
    return;
  }
  const seq = /^\d+$/.test(id) ? Number(id) : Number.NaN;
  if (!Number.isSafeInteger(seq)) throw new Error("an event of the feed has no number");
  if (seq <= position.seq) return; // sent before a reset that we know of already
  await options.apply({ seq, kind: event, data: value });
  await reached(follow, position.originId, seq);
}

async function takeHello(follow: Follow, value: unknown): Promise<void> {
  const { options, position } = follow;
  const { originId, latestSeq, channel } = readHello(value);
  options.connected?.(channel);
  follow.replayTarget = latestSeq;
  enter(follow, "replaying");
  if (position !== null && position.originId === originId && position.seq <= latestSeq) {
    await reached(follow, originId, position.seq);
    return;
  }
  const reason = position === null ? "first contact with an origin" : "another origin, or one set back in time";
  // Objects fetched in the meantime must not carry a position of the old feed: no purge of the new one would affect
  // them.
  follow.position = null;
  await options.reset(reason, latestSeq);
  await reached(follow, originId, latestSeq);
}

async function reached(follow: Follow, originId: string, seq: number): Promise<void> {
  const { options } = follow;
  const position = { originId, seq };
  follow.position = position;
  const isBehind = follow.state === "replaying" && seq < follow.replayTarget;
  const nowMs = options.clock.monotonicMs();
  // To save takes milliseconds, as a purge does; clients wait for missed ones.
  if (isBehind && nowMs - follow.savedMs < saveIntervalMs) return;
  follow.savedMs = nowMs;
  try {
    await options.save(position);
  } catch (error) {
    // A full disk must not delay purges. After a restart they are applied once more, which is harmless.
    options.log.error(
      { err: error, seq },
      "the feed position could not be saved; after a restart the last events are applied again",
    );
  }
  if (follow.state === "replaying" && seq >= follow.replayTarget) enter(follow, "live");
}

function enter(follow: Follow, next: FeedState): void {
  if (next === follow.state) return;
  if (next === "replaying") follow.gate = Promise.withResolvers<void>();
  else follow.gate.resolve();
  follow.state = next;
  follow.options.gated?.(next === "replaying");
  if (next !== "live") return;
  follow.firstContact.resolve();
  if (follow.loggedReason !== undefined) follow.options.log.info({}, "reconnected to the feed");
  follow.loggedReason = undefined;
}

/** Logs the same reason only once, until the feed has been live again. */
function logBreak(follow: Follow, reason: string): void {
  follow.options.log[reason === follow.loggedReason ? "debug" : "warn"]({ reason }, "lost the feed; reconnecting");
  follow.loggedReason = reason;
}

function readHello(value: unknown): { originId: string; latestSeq: number; channel: string | null } {
  const { originId, latestSeq, channel } = value as { originId?: unknown; latestSeq?: unknown; channel?: unknown };
  if (typeof originId !== "string" || !Number.isSafeInteger(latestSeq))
    throw new Error("the feed's hello is malformed");
  const isChannel = typeof channel === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(channel);
  return { originId, latestSeq: latestSeq as number, channel: isChannel ? channel : null };
}

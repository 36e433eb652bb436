/**
 * Following the origin's feed: a numbered, durable log of what edges must do (purge, take a new fleet document).
 *
 *   disconnected ──hello──▶ replaying ──position = latest at hello──▶ live
 *        ▲                      │                                      │
 *        └──────── silence longer than silenceMsMax, or an error ◀─────┘        (again after a growing pause)
 *
 * Invariants
 * - Events are applied one by one, in order; the position is saved after an event is applied, never before. A crash
 *   between the two applies it twice, which is harmless: purging twice, or taking the fleet document twice.
 * - While `replaying`, nothing may be served that an event not yet applied could concern: gate() says when to wait.
 * - A feed of another origin, or one that no longer has what this edge missed, resets: everything cached is dropped.
 */
import type { Readable } from "node:stream";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import { questionEventKind } from "./channel/messages.ts";
import { createEventStreamReader, type ServerSentEvent } from "./event-stream.ts";

/** Where this edge stands in which origin's log. */
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
const pauseMsMin = 200;
const pauseMsMax = 5000;

export type FeedState = "disconnected" | "replaying" | "live";

export interface FeedFollower {
  state: () => FeedState;
  position: () => FeedPosition | null;
  /** Milliseconds (monotonic) at which something was last heard of the origin; null: never. */
  heardAtMs: () => number | null;
  /** A promise while events are being replayed, to be awaited before anything cached is served; else null. */
  gate: () => Promise<void> | null;
  /** Resolves when the first attempt to reach the origin has ended, live or failed. */
  firstContact: Promise<void>;
  close: () => Promise<void>;
}

export function followFeed(options: {
  /** `since` null: only what comes from now on. */
  open: (since: number | null, signal: AbortSignal) => Promise<Readable>;
  /** Null: this edge has never followed a feed; nothing cached can be trusted. */
  position: FeedPosition | null;
  save: (position: FeedPosition) => Promise<void>;
  apply: (event: FeedEvent) => Promise<void>;
  /** Everything cached is out of date, and so may be the fleet document. */
  reset: (reason: string) => Promise<void>;
  /** The nonce of a connection that begins; null: it has ended, or the origin's release has none. */
  connected?: (channel: string | null) => void;
  /** A question that came over this connection; it is no part of the log. Must not throw. */
  asked?: (question: unknown) => void;
  clock: Clock;
  random: Random;
  log: Log;
}): FeedFollower {
  const { open, save, apply, reset, clock, random, log } = options;
  let position = options.position;
  let state: FeedState = "disconnected";
  let heardAtMs: number | null = null;
  let replayTarget = 0;
  /** Why the feed broke off, as the log has it; undefined: it has been live since. */
  let toldReason: string | undefined;
  let gate = Promise.withResolvers<void>();
  const firstContact = Promise.withResolvers<void>();
  const ending = new AbortController();

  function enter(next: FeedState): void {
    if (next === state) return;
    if (next === "replaying") gate = Promise.withResolvers<void>();
    else gate.resolve();
    state = next;
    if (next !== "live") return;
    firstContact.resolve();
    if (toldReason !== undefined) log.info({}, "the feed is followed again");
    toldReason = undefined;
  }

  async function reached(originId: string, seq: number): Promise<void> {
    position = { originId, seq };
    try {
      await save(position);
    } catch (error) {
      // A full disk must not hold purges back: after a restart they are applied once more, which is harmless.
      log.error({ err: error, seq }, "the position in the feed can't be saved");
    }
    if (state === "replaying" && seq >= replayTarget) enter("live");
  }

  async function take({ event, id, data }: ServerSentEvent): Promise<void> {
    const value = parseForeignJson(data);
    if (event === "hello") {
      const { originId, latestSeq, channel } = readHello(value);
      options.connected?.(channel);
      replayTarget = latestSeq;
      enter("replaying");
      const isKnown = position !== null && position.originId === originId && position.seq <= latestSeq;
      if (!isKnown) {
        const reason = position === null ? "first contact with an origin" : "another origin, or one set back in time";
        // What is fetched meanwhile must not carry a number of the other log: no purge of this one would concern it.
        position = null;
        await reset(reason);
        await reached(originId, latestSeq);
      } else if (position !== null) await reached(originId, position.seq);
      return;
    }
    if (position === null || state === "disconnected") throw new Error("the feed did not begin with hello");
    if (event === questionEventKind) {
      options.asked?.(value);
      return;
    }
    if (event === "reset") {
      await reset("the origin no longer has what this edge missed");
      await reached(position.originId, replayTarget);
      return;
    }
    const seq = /^\d+$/.test(id) ? Number(id) : Number.NaN;
    if (!Number.isSafeInteger(seq)) throw new Error("an event of the feed has no number");
    if (seq <= position.seq) return; // sent before a reset was known to us
    await apply({ seq, kind: event, data: value });
    await reached(position.originId, seq);
  }

  async function followOnce(): Promise<void> {
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
      for await (const bytes of (await open(position?.seq ?? null, signal)) as AsyncIterable<Buffer>) {
        heard();
        heardAtMs = clock.monotonicMs();
        for (const event of read(bytes)) await take(event);
      }
    } finally {
      cancel?.();
      options.connected?.(null);
    }
  }

  /** The same reason again and again is told once, until the feed was live in between. */
  function tellBreak(reason: string): void {
    log[reason === toldReason ? "debug" : "warn"]({ reason }, "the feed broke off");
    toldReason = reason;
  }

  async function follow(): Promise<void> {
    let pauseMs = pauseMsMin;
    while (!ending.signal.aborted) {
      let wasLive = false;
      try {
        await followOnce();
      } catch (error) {
        if (ending.signal.aborted) return;
        tellBreak((error as Error).message);
      } finally {
        wasLive = state === "live";
        enter("disconnected");
        firstContact.resolve();
      }
      pauseMs = wasLive ? pauseMsMin : Math.min(pauseMs * 2, pauseMsMax);
      await sleep(clock, pauseMs * (0.5 + random() / 2), ending.signal).catch(() => undefined); // ended: the loop ends
    }
  }

  const following = follow();
  return {
    state: () => state,
    position: () => position,
    heardAtMs: () => heardAtMs,
    gate: () => (state === "replaying" ? gate.promise : null),
    firstContact: firstContact.promise,
    async close() {
      ending.abort(new Error("closing"));
      await following;
    },
  };
}

function readHello(value: unknown): { originId: string; latestSeq: number; channel: string | null } {
  const { originId, latestSeq, channel } = value as { originId?: unknown; latestSeq?: unknown; channel?: unknown };
  if (typeof originId !== "string" || !Number.isSafeInteger(latestSeq))
    throw new Error("the feed's hello is malformed");
  const isChannel = typeof channel === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(channel);
  return { originId, latestSeq: latestSeq as number, channel: isChannel ? channel : null };
}

/**
 * The feed: hands every event of the log to every subscriber, in order, from wherever each one stands.
 *
 *   catalogue ──wake()──▶ pump: new events, once ──▶ live subscribers
 *        └──────────────▶ catching up: each reads its own past, batch by batch, then turns live
 *
 * A subscriber's place in the log is the only thing remembered of it, so cutting one costs nothing: it comes back with
 * the last number that it has. That is what happens to one that reads too slowly, so nothing here grows.
 *
 * Invariants: a subscriber sees numbers grow by one, without a gap; it turns live only when it has seen all that the
 * pump has handed out (looked at and marked with no await in between).
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue, FeedEvent } from "../catalogue/catalogue.ts";
import { encodeEvent } from "./encode.ts";
import { type Guest, type SeatLimits, whoGivesWay, whoseSeatIsSpare } from "./seats.ts";

/** Where a subscriber's bytes go; an HTTP response, or a list in a test. */
export interface FeedSink {
  readonly write: (bytes: Buffer) => void;
  /** Bytes that were written and not yet taken. */
  readonly waitingBytes: () => number;
  /** Resolves when less is waiting, or the sink is gone. */
  readonly drained: () => Promise<void>;
  /** Ends the stream in order. */
  readonly end: () => void;
  /** Drops the connection with whatever waits in it. */
  readonly cut: () => void;
}

export interface FeedSettings extends SeatLimits {
  readonly heartbeatMs: number;
  readonly bufferBytesMax: number;
  readonly stallMs: number;
}

export interface FeedHub {
  /** To be called after every commit that may have appended an event. */
  readonly wake: () => void;
  /**
   * @param guest who it is: one that is unproven may have to give way to it (feed/seats.ts)
   * @param since the number of the last event that the subscriber has; undefined: only what comes from now on
   * @param greeting what hello says beside the bounds of the log
   * @returns what to call when the subscriber has gone
   * @throws NearcastError OVERLOADED
   */
  readonly subscribe: (
    sink: FeedSink,
    guest: Guest,
    since: number | undefined,
    greeting?: object,
  ) => Promise<() => void>;
  readonly counts: () => { subscribers: number; published: number; cut: number };
  readonly close: () => Promise<void>;
}

interface Subscriber extends Guest {
  readonly sink: FeedSink;
  /** Number of the last event that was written to it. */
  seq: number;
  isLive: boolean;
  isGone: boolean;
  /** Since when its bytes have not been moving. */
  stalledSinceMs: number | undefined;
}

/** Events read at one time, for the pump and for one that catches up; each is at most some 256 KiB of JSON. */
const batchEvents = 100;
const heartbeat = Buffer.from(":\n\n");

export async function openFeedHub(deps: {
  catalogue: Catalogue;
  settings: FeedSettings;
  /** Names of the nodes of the fleet; asked where all seats are taken. */
  members: () => Promise<ReadonlySet<string>>;
  clock: Clock;
  log: Log;
}): Promise<FeedHub> {
  const { catalogue, settings, clock, log } = deps;
  const failures = openFailureLog(log, clock);
  /** The oldest first. */
  const subscribers = new Set<Subscriber>();
  let latestSeq = (await catalogue.feedBounds()).latestSeq;
  let pumping: Promise<void> | undefined;
  let isWoken = false;
  let isClosed = false;
  let published = 0;
  let cutCount = 0;

  const leave = (subscriber: Subscriber): void => {
    subscriber.isGone = true;
    subscribers.delete(subscriber);
  };
  const cut = (subscriber: Subscriber, reason: string): void => {
    cutCount += 1;
    const { network, seq } = subscriber;
    failures.of(network, "warn", "FEED_CUT", { reason, seq }, "a subscriber of the feed was cut");
    leave(subscriber);
    subscriber.sink.cut();
  };
  const sendLive = (subscriber: Subscriber, event: FeedEvent, bytes: Buffer): void => {
    // One that subscribed between the commit and the pump may have read this event from the log already.
    if (!subscriber.isLive || subscriber.seq >= event.seq) return;
    subscriber.sink.write(bytes);
    subscriber.seq = event.seq;
    if (subscriber.sink.waitingBytes() > settings.bufferBytesMax) cut(subscriber, "too slow");
  };

  const pump = async (): Promise<void> => {
    while (isWoken) {
      isWoken = false;
      const events = await catalogue.eventsAfter(latestSeq, batchEvents);
      for (const event of events) {
        const bytes = encodeEvent(event.kind, event.seq, event.json);
        latestSeq = event.seq;
        published += 1;
        for (const subscriber of subscribers) sendLive(subscriber, event, bytes);
      }
      if (events.length === batchEvents) isWoken = true;
    }
  };
  const wake = (): void => {
    if (isClosed) return;
    isWoken = true;
    pumping ??= pump()
      .catch((error: unknown) => {
        log.error({ err: error }, "the feed can't read the event log");
      })
      .finally(() => {
        pumping = undefined;
        // Woken between the pump's last look and this line.
        if (isWoken) wake();
      });
  };

  const catchUp = async (subscriber: Subscriber): Promise<void> => {
    while (!subscriber.isGone) {
      if (subscriber.seq >= latestSeq) {
        subscriber.isLive = true;
        return;
      }
      const events = await catalogue.eventsAfter(subscriber.seq, batchEvents);
      if (events[0]?.seq !== subscriber.seq + 1) {
        // Pruned while it was catching up. Coming back, it is told to begin anew.
        cut(subscriber, "fell behind the log");
        return;
      }
      for (const event of events) {
        if (subscriber.isGone) return;
        subscriber.sink.write(encodeEvent(event.kind, event.seq, event.json));
        subscriber.seq = event.seq;
        // It may take its past as slowly as it likes, as long as it takes some of it (see stallMs).
        if (subscriber.sink.waitingBytes() > settings.bufferBytesMax / 2) await subscriber.sink.drained();
      }
    }
  };

  /** @throws NearcastError OVERLOADED */
  const makeRoom = async (guest: Guest): Promise<void> => {
    const inTheWay = whoGivesWay([...subscribers], guest, settings);
    if (inTheWay === undefined) return;
    if (inTheWay !== "full") {
      cut(inTheWay, "gave way: it did not introduce itself");
      return;
    }
    const members = await deps.members();
    // Looked at anew: others came and went meanwhile.
    const now = whoGivesWay([...subscribers], guest, settings);
    const spare = now === "full" ? whoseSeatIsSpare([...subscribers], guest, settings, members) : now;
    if (spare === "full") {
      throw new NearcastError("OVERLOADED", `too many subscribers follow the feed, in all or from ${guest.network}`);
    }
    if (spare !== undefined) cut(spare, "gave way: no node of the fleet, or one that is connected anew");
  };

  const stopBeating = clock.every(settings.heartbeatMs, () => {
    const nowMs = clock.monotonicMs();
    for (const subscriber of subscribers) {
      if (subscriber.sink.waitingBytes() === 0) {
        subscriber.stalledSinceMs = undefined;
        subscriber.sink.write(heartbeat);
        continue;
      }
      subscriber.stalledSinceMs ??= nowMs;
      if (nowMs - subscriber.stalledSinceMs >= settings.stallMs) cut(subscriber, "takes no bytes");
    }
    // Also finds what was appended when a read of the log had failed.
    wake();
  });

  return {
    wake,
    subscribe: async (sink, guest, since, greeting = {}) => {
      if (isClosed) throw new NearcastError("OVERLOADED", "the feed is closing");
      await makeRoom(guest);
      const subscriber: Subscriber = {
        ...guest,
        sink,
        seq: 0,
        isLive: false,
        isGone: false,
        stalledSinceMs: undefined,
      };
      subscribers.add(subscriber);
      const gone = (): void => {
        leave(subscriber);
      };
      try {
        const bounds = await catalogue.feedBounds();
        const { originId } = catalogue;
        sink.write(encodeEvent("hello", undefined, JSON.stringify({ originId, ...bounds, ...greeting })));
        const reason =
          since === undefined
            ? undefined
            : since > bounds.latestSeq
              ? "ahead"
              : since + 1 < bounds.oldestSeq
                ? "pruned"
                : undefined;
        if (reason !== undefined) {
          const { latestSeq: seq } = bounds;
          sink.write(encodeEvent("reset", seq, JSON.stringify({ originId, latestSeq: seq, reason })));
        }
        subscriber.seq = since === undefined || reason !== undefined ? bounds.latestSeq : since;
      } catch (error) {
        gone();
        throw error;
      }
      catchUp(subscriber).catch((error: unknown) => {
        log.error({ err: error }, "the feed can't read the event log");
        if (!subscriber.isGone) cut(subscriber, "the log can't be read");
      });
      return gone;
    },
    counts: () => ({ subscribers: subscribers.size, published, cut: cutCount }),
    close: async () => {
      isClosed = true;
      stopBeating();
      for (const subscriber of subscribers) {
        leave(subscriber);
        subscriber.sink.end();
      }
      await pumping;
    },
  };
}

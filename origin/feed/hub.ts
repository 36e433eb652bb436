/**
 * The feed: sends every event of the log to every subscriber, in order, starting at each subscriber's position.
 *
 *   catalogue ──wake()──▶ pump: new events, once ──▶ live subscribers
 *        └──────────────▶ catching up: each reads its own past, batch by batch, then becomes live
 *
 * A subscriber's position in the log is the only state kept for it, so disconnecting one costs nothing: it reconnects
 * with the number of its last event. That happens to one that reads too slowly, so nothing here grows.
 *
 * Invariants: a subscriber sees numbers increase by one, without a gap; it becomes live only when it has seen
 * everything that the pump has sent (checked and set with no await in between).
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { Catalogue, FeedEvent } from "../catalogue/catalogue.ts";
import { encodeEvent } from "./encode.ts";
import { type Guest, type SeatLimits, whoGivesWay, whoseSeatIsSpare } from "./seats.ts";

/** The destination of a subscriber's bytes: an HTTP response, or a list in a test. */
export interface FeedSink {
  readonly write: (bytes: Buffer) => void;
  /** Bytes that were written and not yet read by the client. */
  readonly waitingBytes: () => number;
  /** Resolves when fewer bytes are waiting, or the sink is gone. */
  readonly drained: () => Promise<void>;
  /** Ends the stream normally. */
  readonly end: () => void;
  /** Drops the connection with everything that waits in it. */
  readonly cut: () => void;
}

export interface FeedSettings extends SeatLimits {
  readonly heartbeatMs: number;
  readonly bufferBytesMax: number;
  readonly stallMs: number;
}

export interface FeedHub {
  /** Call this after every commit that may have appended an event. */
  readonly wake: () => void;
  /**
   * @param guest identity of the subscriber: an unproven one may have to give way to it (feed/seats.ts)
   * @param since the number of the subscriber's last event; undefined: only future events
   * @param greeting the fields of hello besides the bounds of the log
   * @returns a function to call when the subscriber is gone
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
  /** Since when it has read no bytes. */
  stalledSinceMs: number | undefined;
}

/** Events per read, for the pump and for a subscriber that catches up; each has at most some 256 KiB of JSON. */
const batchEvents = 100;
const heartbeat = Buffer.from(":\n\n");

interface HubDeps {
  catalogue: Catalogue;
  settings: FeedSettings;
  /** Names of the fleet's nodes; called when all seats are taken. */
  members: () => Promise<ReadonlySet<string>>;
  clock: Clock;
  log: Log;
}

/** One record: the subscribers, and the last event that was sent. */
interface Hub {
  readonly deps: HubDeps;
  readonly failures: FailureLog;
  /** The oldest first. */
  readonly subscribers: Set<Subscriber>;
  /** Number of the last event that was sent to live subscribers. */
  latestSeq: number;
  pumping: Promise<void> | undefined;
  isWoken: boolean;
  isClosed: boolean;
  published: number;
  cut: number;
}

export async function openFeedHub(deps: HubDeps): Promise<FeedHub> {
  const hub: Hub = {
    deps,
    failures: openFailureLog(deps.log, deps.clock),
    subscribers: new Set(),
    latestSeq: (await deps.catalogue.feedBounds()).latestSeq,
    pumping: undefined,
    isWoken: false,
    isClosed: false,
    published: 0,
    cut: 0,
  };
  const stopBeating = deps.clock.every(deps.settings.heartbeatMs, () => {
    beat(hub);
  });
  return {
    wake: () => {
      wake(hub);
    },
    subscribe: (sink, guest, since, greeting = {}) => subscribe(hub, sink, guest, since, greeting),
    counts: () => ({ subscribers: hub.subscribers.size, published: hub.published, cut: hub.cut }),
    close: async () => {
      hub.isClosed = true;
      stopBeating();
      for (const subscriber of hub.subscribers) {
        leave(hub, subscriber);
        subscriber.sink.end();
      }
      await hub.pumping;
    },
  };
}

function leave({ subscribers }: Hub, subscriber: Subscriber): void {
  subscriber.isGone = true;
  subscribers.delete(subscriber);
}

function cut(hub: Hub, subscriber: Subscriber, reason: string): void {
  hub.cut += 1;
  const { network, seq } = subscriber;
  hub.failures.of(network, "warn", "FEED_CUT", { reason, seq }, "closed a subscriber of the feed; it reconnects");
  leave(hub, subscriber);
  subscriber.sink.cut();
}

/** Sends new events in the log to live subscribers. */
function wake(hub: Hub): void {
  if (hub.isClosed) return;
  hub.isWoken = true;
  hub.pumping ??= pump(hub)
    .catch((error: unknown) => {
      hub.deps.log.error({ err: error }, "the feed can't read the event log; trying again");
    })
    .finally(() => {
      hub.pumping = undefined;
      // Woken between the pump's last read and this line.
      if (hub.isWoken) wake(hub);
    });
}

async function pump(hub: Hub): Promise<void> {
  while (hub.isWoken) {
    hub.isWoken = false;
    const events = await hub.deps.catalogue.eventsAfter(hub.latestSeq, batchEvents);
    for (const event of events) {
      const bytes = encodeEvent(event.kind, event.seq, event.json);
      hub.latestSeq = event.seq;
      hub.published += 1;
      for (const subscriber of hub.subscribers) sendLive(hub, subscriber, event, bytes);
    }
    if (events.length === batchEvents) hub.isWoken = true;
  }
}

function sendLive(hub: Hub, subscriber: Subscriber, event: FeedEvent, bytes: Buffer): void {
  // A subscriber that came between the commit and the pump may have read this event from the log already.
  if (!subscriber.isLive || subscriber.seq >= event.seq) return;
  subscriber.sink.write(bytes);
  subscriber.seq = event.seq;
  if (subscriber.sink.waitingBytes() > hub.deps.settings.bufferBytesMax) cut(hub, subscriber, "too slow");
}

/** Sends a subscriber its past events, until it is live. */
async function catchUp(hub: Hub, subscriber: Subscriber): Promise<void> {
  const { catalogue, settings } = hub.deps;
  while (!subscriber.isGone) {
    if (subscriber.seq >= hub.latestSeq) {
      subscriber.isLive = true;
      return;
    }
    const events = await catalogue.eventsAfter(subscriber.seq, batchEvents);
    if (events[0]?.seq !== subscriber.seq + 1) {
      // The events were pruned while it was catching up. When it reconnects, it gets a reset.
      cut(hub, subscriber, "fell behind the log");
      return;
    }
    for (const event of events) {
      if (subscriber.isGone) return;
      subscriber.sink.write(encodeEvent(event.kind, event.seq, event.json));
      subscriber.seq = event.seq;
      // A subscriber may read its past slowly, as long as it reads something (see stallMs).
      if (subscriber.sink.waitingBytes() > settings.bufferBytesMax / 2) await subscriber.sink.drained();
    }
  }
}

/** @throws NearcastError OVERLOADED */
async function makeRoom(hub: Hub, guest: Guest): Promise<void> {
  const { subscribers } = hub;
  const { settings } = hub.deps;
  const inTheWay = whoGivesWay([...subscribers], guest, settings);
  if (inTheWay === undefined) return;
  if (inTheWay !== "full") {
    cut(hub, inTheWay, "replaced: it did not introduce itself");
    return;
  }
  const members = await hub.deps.members();
  // Checked again: others came and went meanwhile.
  const now = whoGivesWay([...subscribers], guest, settings);
  const spare = now === "full" ? whoseSeatIsSpare([...subscribers], guest, settings, members) : now;
  if (spare === "full") {
    throw new NearcastError("OVERLOADED", `too many subscribers follow the feed, in total or from ${guest.network}`);
  }
  if (spare !== undefined) cut(hub, spare, "replaced: not a node of the fleet, or connected twice");
}

/** Sends heartbeats, and disconnects subscribers that read nothing. */
function beat(hub: Hub): void {
  const { clock, settings } = hub.deps;
  const nowMs = clock.monotonicMs();
  for (const subscriber of hub.subscribers) {
    if (subscriber.sink.waitingBytes() === 0) {
      subscriber.stalledSinceMs = undefined;
      subscriber.sink.write(heartbeat);
      continue;
    }
    subscriber.stalledSinceMs ??= nowMs;
    if (nowMs - subscriber.stalledSinceMs >= settings.stallMs) cut(hub, subscriber, "does not read");
  }
  // Also finds events that were appended when a read of the log failed.
  wake(hub);
}

/** @throws NearcastError OVERLOADED */
async function subscribe(
  hub: Hub,
  sink: FeedSink,
  guest: Guest,
  since: number | undefined,
  greeting: object,
): Promise<() => void> {
  const { catalogue, log } = hub.deps;
  if (hub.isClosed) throw new NearcastError("OVERLOADED", "the feed is closing");
  await makeRoom(hub, guest);
  const subscriber: Subscriber = {
    ...guest,
    sink,
    seq: 0,
    isLive: false,
    isGone: false,
    stalledSinceMs: undefined,
  };
  hub.subscribers.add(subscriber);
  try {
    const bounds = await catalogue.feedBounds();
    const { originId } = catalogue;
    sink.write(encodeEvent("hello", undefined, JSON.stringify({ originId, ...bounds, ...greeting })));
    const reason = since === undefined ? undefined : whyReset(since, bounds);
    if (reason !== undefined) {
      const { latestSeq: seq } = bounds;
      sink.write(encodeEvent("reset", seq, JSON.stringify({ originId, latestSeq: seq, reason })));
    }
    subscriber.seq = since === undefined || reason !== undefined ? bounds.latestSeq : since;
  } catch (error) {
    leave(hub, subscriber);
    throw error;
  }
  catchUp(hub, subscriber).catch((error: unknown) => {
    log.error({ err: error }, "the feed can't read the event log; trying again");
    if (!subscriber.isGone) cut(hub, subscriber, "the log can't be read");
  });
  return () => {
    leave(hub, subscriber);
  };
}

/** Why a subscriber can't continue from `since`; undefined: it can. */
function whyReset(since: number, bounds: { oldestSeq: number; latestSeq: number }): "ahead" | "pruned" | undefined {
  if (since > bounds.latestSeq) return "ahead";
  return since + 1 < bounds.oldestSeq ? "pruned" : undefined;
}

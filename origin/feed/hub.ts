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
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
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

interface HubDeps {
  catalogue: Catalogue;
  settings: FeedSettings;
  /** Names of the nodes of the fleet; asked where all seats are taken. */
  members: () => Promise<ReadonlySet<string>>;
  clock: Clock;
  log: Log;
}

/** One record: who follows the feed, and how far the events of the log are sent. */
interface Hub {
  readonly deps: HubDeps;
  readonly failures: FailureLog;
  /** The oldest first. */
  readonly subscribers: Set<Subscriber>;
  /** Number of the last event that was sent to those who are live. */
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

/** Sends what is new in the log to those who are live. */
function wake(hub: Hub): void {
  if (hub.isClosed) return;
  hub.isWoken = true;
  hub.pumping ??= pump(hub)
    .catch((error: unknown) => {
      hub.deps.log.error({ err: error }, "the feed can't read the event log; trying again");
    })
    .finally(() => {
      hub.pumping = undefined;
      // Woken between the pump's last look and this line.
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
  // One that subscribed between the commit and the pump may have read this event from the log already.
  if (!subscriber.isLive || subscriber.seq >= event.seq) return;
  subscriber.sink.write(bytes);
  subscriber.seq = event.seq;
  if (subscriber.sink.waitingBytes() > hub.deps.settings.bufferBytesMax) cut(hub, subscriber, "too slow");
}

/** Sends a subscriber its past, until it is live. */
async function catchUp(hub: Hub, subscriber: Subscriber): Promise<void> {
  const { catalogue, settings } = hub.deps;
  while (!subscriber.isGone) {
    if (subscriber.seq >= hub.latestSeq) {
      subscriber.isLive = true;
      return;
    }
    const events = await catalogue.eventsAfter(subscriber.seq, batchEvents);
    if (events[0]?.seq !== subscriber.seq + 1) {
      // Pruned while it was catching up. When it comes back, it is told to begin anew.
      cut(hub, subscriber, "fell behind the log");
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
  // Looked at anew: others came and went meanwhile.
  const now = whoGivesWay([...subscribers], guest, settings);
  const spare = now === "full" ? whoseSeatIsSpare([...subscribers], guest, settings, members) : now;
  if (spare === "full") {
    throw new NearcastError("OVERLOADED", `too many subscribers follow the feed, in total or from ${guest.network}`);
  }
  if (spare !== undefined) cut(hub, spare, "replaced: not a node of the fleet, or connected twice");
}

/** Sends heartbeats, and cuts subscribers that take no bytes. */
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
  // Also finds what was appended when a read of the log had failed.
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

/** Why a subscriber can't go on from `since`; undefined: it can. */
function whyReset(since: number, bounds: { oldestSeq: number; latestSeq: number }): "ahead" | "pruned" | undefined {
  if (since > bounds.latestSeq) return "ahead";
  return since + 1 < bounds.oldestSeq ? "pruned" : undefined;
}

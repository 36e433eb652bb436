/**
 * Bodies in progress that hardly use the origin: little arrives, or their readers are slower than the origin, or they
 * are event streams. Such a body gives up its place (places.ts) but keeps its connection. Otherwise, slow bodies would
 * keep everyone away from the origin.
 *
 *   body under way ──▶ hardly anything arrives for a second,
 *                      its reader is slow for three,
 *                      it is an event stream, or
 *                      it is the slowest while requests wait ──▶ held, without a place, to its end
 *                                           └──▶ too many are held: it keeps its place; once others wait for places,
 *                                                the slowest body of the network that holds most is cut, which may be
 *                                                this one
 *
 * The last of these rules is relative, so that nobody can keep all places by sending a little more than some limit. A
 * body gives up its place only after a second. A quick one that is the slowest loses nothing: it goes on, and is cut
 * only if its network holds several.
 *
 * A network is suspected for a while (overdue.ts) if the origin is slow to send a body of it while others wait, or if
 * one of its bodies is cut: its next requests would probably take places for a second, too.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { BodyProgress } from "#base/body-watch.ts";
import { suspect, type Suspects } from "./overdue.ts";
import type { Places } from "#base/places.ts";

export interface HeldBody {
  readonly network: string;
  readonly sinceMs: number;
  readonly watch: BodyProgress;
  /** Ends the body and its connection. */
  readonly cut: () => void;
}

/** A body with a place. */
export interface PlacedBody {
  readonly body: HeldBody;
  readonly looks: BodyLooks;
  /** Holds it: it gives up its place. */
  readonly hold: () => void;
}

/** The parts of an origin (upstream.ts) that this needs. */
interface Holder<Waiter> {
  readonly held: Set<HeldBody>;
  readonly placed: Set<PlacedBody>;
  readonly clock: Clock;
  readonly places: Places<Waiter>;
  readonly suspects: Suspects;
}

/**
 * In addition to the places: the maximum of connections to one origin is the sum of both. Each costs about 100 KB here.
 */
export const heldBodiesMax = 256;

const lookMs = 500;
/**
 * How many looks in a row must find a body to be slow. Both looks at a slow origin, and the first one that still finds
 * its beginning, fit into the time that a request waits for a place (admission.ts).
 */
const drippingLooksMin = 2;
const pausedLooksMin = 6;
/** Fewer bytes between two looks are slow: 1 KiB a second, the default of a client's minimum rate. */
const drippingBytesMax = 512;
/** Below it, the origin is slow to send a body: 1 MB takes a minute. */
const slowBytesPerSecond = 16 * 1024;
/** How many of the slowest bodies are held at one time, so that a burst of requests does not move all of them. */
const slowestAtOnceMax = 8;

/** What the looks at a body have found. */
export interface BodyLooks {
  bytes: number;
  /** In the second before the last look; undefined: it has not been looked at for so long. */
  bytesPerSecond: number | undefined;
  /** Between the last two looks. */
  bytesBetween: number | undefined;
  /** In a row. */
  dripping: number;
  paused: number;
}

export type SlowBody = "event-stream" | "dripping" | "paused";

/** @returns why the body is slow; undefined: it is not, or not for long enough */
export function lookAt(looks: BodyLooks, watch: BodyProgress): SlowBody | undefined {
  const bytes = watch.bytes();
  const between = bytes - looks.bytes;
  looks.bytesPerSecond = looks.bytesBetween === undefined ? undefined : looks.bytesBetween + between;
  looks.bytesBetween = between;
  looks.dripping = between < drippingBytesMax ? looks.dripping + 1 : 0;
  looks.paused = watch.isPaused() ? looks.paused + 1 : 0;
  looks.bytes = bytes;
  if (watch.isEventStream()) return "event-stream";
  if (looks.paused >= pausedLooksMin) return "paused";
  // Nothing arrives either way when the reader takes nothing at all.
  return looks.dripping >= drippingLooksMin ? (watch.isPaused() ? "paused" : "dripping") : undefined;
}

export function newLooks(): BodyLooks {
  return { bytes: 0, bytesPerSecond: undefined, bytesBetween: undefined, dripping: 0, paused: 0 };
}

/**
 * @param body in progress, with a place
 * @param giveUpPlace called once, when the body is held
 * @returns a function that ends the watch, to be called at the body's end
 */
export function holdIfSlow<Waiter>(upstream: Holder<Waiter>, body: HeldBody, giveUpPlace: () => void): Cancel {
  const { held, placed, clock, places } = upstream;
  const looks = newLooks();
  let cancel: Cancel | undefined;
  const hold = (): void => {
    cancel?.();
    placed.delete(one);
    held.add(body);
    giveUpPlace();
  };
  const one: PlacedBody = { body, looks, hold };
  placed.add(one);
  const look = (): void => {
    cancel = undefined;
    const why = lookAt(looks, body.watch);
    const isWaitedFor = places.waiting > 0;
    if (why !== undefined && isWaitedFor && held.size >= heldBodiesMax) {
      const slowest = slowestOfLargest(held, body, clock.monotonicMs());
      cut(upstream, slowest);
      if (slowest === body) return;
    }
    if (why === undefined || held.size >= heldBodiesMax) {
      cancel = clock.after(lookMs, look);
      return;
    }
    hold();
    if (why === "dripping" && isWaitedFor) suspect(upstream, body.network, clock.monotonicMs());
  };
  if (body.watch.isEventStream()) look();
  else cancel = clock.after(lookMs, look);
  return () => {
    cancel?.();
    placed.delete(one);
    held.delete(body);
  };
}

/**
 * To be called again and again while requests wait for places: the slowest bodies give up theirs, one for each request
 * that waits.
 */
export function holdSlowest<Waiter>(upstream: Holder<Waiter>): void {
  const { placed, held, places, clock } = upstream;
  const { byNetwork, last, inUse, placesMax } = places;
  const isFull = inUse >= placesMax;
  // If places are free, those who wait have as many as their network may have.
  const inTheWay = [...placed].filter(
    ({ body: { network }, looks }) =>
      looks.bytesPerSecond !== undefined && (isFull || byNetwork.has(network) || last.has(network)),
  );
  inTheWay.sort((one, other) => (one.looks.bytesPerSecond ?? 0) - (other.looks.bytesPerSecond ?? 0));
  const count = Math.min(places.waiting, slowestAtOnceMax);
  for (const { body, looks, hold } of inTheWay.slice(0, count)) {
    if (held.size >= heldBodiesMax) {
      const nowMs = clock.monotonicMs();
      const slowest = slowestOfLargest(held, body, nowMs);
      if (!mayCut(held, slowest, nowMs)) return;
      cut(upstream, slowest);
      if (slowest === body) continue;
    }
    hold();
    const isSlow = (looks.bytesPerSecond ?? 0) < slowBytesPerSecond;
    if (isSlow && !body.watch.isPaused()) suspect(upstream, body.network, clock.monotonicMs());
  }
}

/** A body that makes progress is cut only if its network holds others. */
function mayCut(held: ReadonlySet<HeldBody>, body: HeldBody, nowMs: number): boolean {
  if (rateOf(body, nowMs) * 1000 < slowBytesPerSecond) return true;
  for (const other of held) if (other !== body && other.network === body.network) return true;
  return false;
}

function cut<Waiter>(upstream: Holder<Waiter>, body: HeldBody): void {
  suspect(upstream, body.network, upstream.clock.monotonicMs());
  upstream.held.delete(body);
  body.cut();
}

/**
 * Of the held bodies and one more: of the network with most of them, the one with the fewest bytes per second. If no
 * network has more than that of the new one, this is the network: nobody else loses a body to it.
 */
function slowestOfLargest(held: ReadonlySet<HeldBody>, added: HeldBody, nowMs: number): HeldBody {
  const byNetwork = Map.groupBy([added, ...held], ({ network }) => network);
  let largest: readonly HeldBody[] = byNetwork.get(added.network) ?? [];
  for (const bodies of byNetwork.values()) if (bodies.length > largest.length) largest = bodies;
  let slowest = largest[0] ?? added;
  for (const one of largest) if (rateOf(one, nowMs) < rateOf(slowest, nowMs)) slowest = one;
  return slowest;
}

/** Bytes per ms since it began. */
function rateOf({ watch, sinceMs }: HeldBody, nowMs: number): number {
  return watch.bytes() / Math.max(1, nowMs - sinceMs);
}

/**
 * Bodies in progress that hardly use the origin: hardly anything arrives, or their readers take less than the origin
 * sends, or they are event streams. Such a body gives up its place (places.ts), or slow bodies would keep everyone from
 * the origin; but it keeps its connection.
 *
 *   body under way ──▶ hardly anything arrives for a second,
 *                      its reader is slow for three,
 *                      or it is an event stream ────────────▶ held, without a place, to its end
 *                                           └──▶ too many are held: it keeps its place; once others wait for places,
 *                                                the slowest body of the network that holds most is cut, which may be
 *                                                this one
 *
 * A network is suspected for a while (overdue.ts) if the origin is slow to send a body of it while others wait, or if
 * one of its bodies is cut: its next requests would probably take places for a second, too.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { BodyWatch } from "#base/body-watch.ts";
import { suspect, type Suspects } from "./overdue.ts";
import type { Places } from "./places.ts";

export interface HeldBody {
  readonly network: string;
  readonly sinceMs: number;
  readonly watch: BodyWatch;
  /** Ends the body and its connection. */
  readonly cut: () => void;
}

/** The parts of an origin (upstream.ts) that this needs. */
interface Holder<Waiter> {
  readonly held: Set<HeldBody>;
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

/** What the looks at a body have found. */
export interface BodyLooks {
  bytes: number;
  /** In a row. */
  dripping: number;
  paused: number;
}

export type SlowBody = "event-stream" | "dripping" | "paused";

/** @returns why the body is slow; undefined: it is not, or not for long enough */
export function lookAt(looks: BodyLooks, watch: BodyWatch): SlowBody | undefined {
  const bytes = watch.bytes();
  looks.dripping = bytes - looks.bytes < drippingBytesMax ? looks.dripping + 1 : 0;
  looks.paused = watch.isPaused() ? looks.paused + 1 : 0;
  looks.bytes = bytes;
  if (watch.isEventStream()) return "event-stream";
  if (looks.paused >= pausedLooksMin) return "paused";
  // Nothing arrives either way when the reader takes nothing at all.
  return looks.dripping >= drippingLooksMin ? (watch.isPaused() ? "paused" : "dripping") : undefined;
}

/**
 * @param body in progress, with a place
 * @param giveUpPlace called once, when the body is held
 * @returns a function that ends the watch, to be called at the body's end
 */
export function holdIfSlow<Waiter>(upstream: Holder<Waiter>, body: HeldBody, giveUpPlace: () => void): Cancel {
  const { held, clock, places } = upstream;
  const looks: BodyLooks = { bytes: 0, dripping: 0, paused: 0 };
  let cancel: Cancel | undefined;
  const look = (): void => {
    cancel = undefined;
    const why = lookAt(looks, body.watch);
    const isWaitedFor = places.waiting > 0;
    if (why !== undefined && isWaitedFor && held.size >= heldBodiesMax) {
      const slowest = slowestOfLargest(held, body, clock.monotonicMs());
      suspect(upstream, slowest.network, clock.monotonicMs());
      held.delete(slowest);
      slowest.cut();
      if (slowest === body) return;
    }
    if (why === undefined || held.size >= heldBodiesMax) {
      cancel = clock.after(lookMs, look);
      return;
    }
    held.add(body);
    if (why === "dripping" && isWaitedFor) suspect(upstream, body.network, clock.monotonicMs());
    giveUpPlace();
  };
  if (body.watch.isEventStream()) look();
  else cancel = clock.after(lookMs, look);
  return () => {
    cancel?.();
    held.delete(body);
  };
}

/**
 * Of the held bodies and one more: of the network with most of them, the one with the fewest bytes per second. If no
 * network has more than that of the new one, this is the network: nobody else loses a body to it.
 */
function slowestOfLargest(held: ReadonlySet<HeldBody>, added: HeldBody, nowMs: number): HeldBody {
  const byNetwork = Map.groupBy([added, ...held], ({ network }) => network);
  let largest: readonly HeldBody[] = byNetwork.get(added.network) ?? [];
  for (const bodies of byNetwork.values()) if (bodies.length > largest.length) largest = bodies;
  const rateOf = ({ watch, sinceMs }: HeldBody): number => watch.bytes() / Math.max(1, nowMs - sinceMs);
  let slowest = largest[0] ?? added;
  for (const one of largest) if (rateOf(one) < rateOf(slowest)) slowest = one;
  return slowest;
}

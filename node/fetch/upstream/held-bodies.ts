/**
 * Bodies in progress that hardly use the origin: their readers take less than it sends, or they are event streams. Such
 * a body holds no place (places.ts), or slow readers would keep everyone from the origin; but it keeps its connection.
 *
 *   body under way ──▶ its reader is slow for some seconds, or it is an event stream ──▶ held, without a place
 *                                           └──▶ too many are held: it keeps its place; if others wait for places,
 *                                                the slowest body of the network that holds most is cut
 */
import type { Cancel, Clock } from "#base/clock.ts";
import type { BodyWatch } from "#base/body-watch.ts";

export interface HeldBody {
  readonly network: string;
  readonly sinceMs: number;
  readonly watch: BodyWatch;
  /** Ends the body and its connection. */
  readonly cut: () => void;
}

/** The parts of an origin (upstream.ts) that this needs. */
interface Holder {
  readonly held: Set<HeldBody>;
  readonly clock: Clock;
  readonly places: { readonly waiting: number };
}

/**
 * In addition to the places: the maximum of connections to one origin is the sum of both. Each costs about 100 KB here.
 */
export const heldBodiesMax = 256;
/** How many times in a row, at this interval, a body must be waiting for its reader to count as held. */
const pausesMin = 3;
const lookMs = 1000;

/**
 * @param body in progress, with a place
 * @param giveUpPlace called once, when the body is held
 * @returns a function that ends the watch, to be called at the body's end
 */
export function holdIfSlow(upstream: Holder, body: HeldBody, giveUpPlace: () => void): Cancel {
  const { held, clock, places } = upstream;
  let pauses = 0;
  let cancel: Cancel | undefined;
  const look = (): void => {
    pauses = body.watch.isPaused() ? pauses + 1 : 0;
    const isSlow = body.watch.isEventStream() || pauses >= pausesMin;
    if (isSlow && held.size >= heldBodiesMax && places.waiting > 0) cutSlowest(held, clock.monotonicMs());
    if (isSlow && held.size < heldBodiesMax) {
      held.add(body);
      giveUpPlace();
    } else cancel = clock.after(lookMs, look);
  };
  if (body.watch.isEventStream()) look();
  else cancel = clock.after(lookMs, look);
  return () => {
    cancel?.();
    held.delete(body);
  };
}

/** Among the bodies of the network that holds the most: the one with the fewest bytes per second. */
function cutSlowest(held: Set<HeldBody>, nowMs: number): void {
  const byNetwork = Map.groupBy(held, ({ network }) => network);
  let largest: readonly HeldBody[] = [];
  for (const bodies of byNetwork.values()) if (bodies.length > largest.length) largest = bodies;
  const rateOf = ({ watch, sinceMs }: HeldBody): number => watch.bytes() / Math.max(1, nowMs - sinceMs);
  const [slowest] = largest.toSorted((a, b) => rateOf(a) - rateOf(b));
  if (slowest === undefined) return;
  held.delete(slowest);
  slowest.cut();
}

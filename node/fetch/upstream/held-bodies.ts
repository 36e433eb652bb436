/**
 * Bodies under way that do not need the origin any more: their readers take less than it sends, or they are streams of
 * events. Such a body holds no place (places.ts), or slow readers would keep everyone from the origin; it holds its
 * connection.
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
  /** Ends it, with its connection. */
  readonly cut: () => void;
}

/** What this needs of an origin (upstream.ts). */
interface Holder {
  readonly held: Set<HeldBody>;
  readonly clock: Clock;
  readonly places: { readonly waiting: number };
}

/** Beside the places, so the most connections to one origin are the sum of both. Each costs some 100 KB here. */
export const heldBodiesMax = 256;
/** So often in a row, at this interval, a body is found waiting for its reader before it counts as held. */
const pausesMin = 3;
const lookMs = 1000;

/**
 * @param body under way, with a place
 * @param giveUpPlace called once, when the body is held
 * @returns ends the watch; to be called at the body's end
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

/** Of the network that holds most: the body of which fewest bytes came per second. */
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

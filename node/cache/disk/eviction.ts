/**
 * Which bodies leave the disk tier to make room: S3-FIFO (Yang et al., SOSP 2023), on whole segments. Pure.
 *
 *   new object ──▶ small ──used twice──▶ main ──used──▶ main again, at its end
 *                    │ not used            │ not used
 *                    ▼                     ▼
 *                  ghost                 dropped         a key in the ghost goes straight to main
 *
 * Space is freed only by removing a whole volume (a segment, or the file of one large body), so objects are judged a
 * volume at a time. A volume whose bytes are mostly wanted moves to the end of the queue as it is, without a write. The
 * wanted objects of the others are copied.
 *
 * This policy favours bytes: size and cost of an object don't count, so small bodies do not displace large ones.
 */

export type Stream = "small" | "main";

/** The part of the space that newcomers get before their oldest are judged. The paper's value. */
const smallShare = 0.1;
/** Uses that a newcomer needs to enter main. */
const promotedFrom = 1;
/**
 * A volume of which more than this part is wanted stays as it is; at most this part of the others is copied. Smaller:
 * unwanted bytes stay in whole volumes. Larger: more is copied.
 */
const wantedShareMax = 0.7;

export function streamToJudge(bytes: { readonly small: number; readonly main: number }): Stream {
  if (bytes.main === 0) return "small";
  return bytes.small > smallShare * (bytes.small + bytes.main) ? "small" : "main";
}

/** Whether an object that was used `frequency` times stays in the cache when its volume is judged. */
export function isWanted(stream: Stream, frequency: number): boolean {
  return frequency >= (stream === "small" ? promotedFrom : 1);
}

/** The frequency of an object that stays: in main, each judgement takes one use away. */
export function frequencyAfter(stream: Stream, frequency: number): number {
  return stream === "small" ? 0 : frequency - 1;
}

/** Whether a volume stays whole. @param volumeBytes including bytes that no object uses any more */
export function staysWhole(wantedBytes: number, volumeBytes: number): boolean {
  return wantedBytes > wantedShareMax * volumeBytes;
}

/** The maximum number of bytes of a volume that are copied. */
export function copiedBytesMax(volumeBytes: number): number {
  return wantedShareMax * volumeBytes;
}

/**
 * The keys that left the small queue unused, as many as the cache has objects: a table outside the heap in which newer
 * keys overwrite older ones. A place has two words: the key, and the number of the drop.
 */
export interface Ghost {
  readonly places: Uint32Array;
  drops: number;
}

const placeWords = 2;
const ghostPlacesMax = 2 ** 24;

/** @param objects about as many as the tier will hold */
export function createGhost(objects: number): Ghost {
  const bits = Math.ceil(Math.log2(Math.min(ghostPlacesMax, Math.max(1024, objects))));
  const bytes = 2 ** bits * placeWords * Uint32Array.BYTES_PER_ELEMENT;
  return { places: new Uint32Array(new SharedArrayBuffer(bytes)), drops: 0 };
}

/** @param key two words of the key: one selects the place, the other is compared */
export function rememberDropped(ghost: Ghost, place: number, key: number): void {
  const at = placeIn(ghost, place);
  ghost.drops = (ghost.drops + 1) >>> 0;
  ghost.places[at] = key;
  ghost.places[at + 1] = ghost.drops;
}

/**
 * Where a new object goes. A key that comes back from the ghost is forgotten there.
 * @param objects in the cache: keys that were dropped before as many others count as forgotten
 */
export function streamOfNewcomer(ghost: Ghost, place: number, key: number, objects: number): Stream {
  const at = placeIn(ghost, place);
  if (ghost.places[at] !== key || key === 0) return "small";
  ghost.places[at] = 0;
  const dropsSince = (ghost.drops - (ghost.places[at + 1] ?? 0)) >>> 0;
  return dropsSince < objects ? "main" : "small";
}

function placeIn(ghost: Ghost, place: number): number {
  return ((place & (ghost.places.length / placeWords - 1)) >>> 0) * placeWords;
}

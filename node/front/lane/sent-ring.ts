/**
 * A ring in shared memory, in which a lane tells the main thread about each response that it has sent itself. The lane
 * writes it, and the main thread reads it in the order of writing.
 *
 *   [written, read, lost, –][number of the ready response, status, bytes of the body, –] …
 *
 * Neither waits: while the main thread is behind by the whole ring, the lane only counts its responses.
 */

export type SentRing = Int32Array<SharedArrayBuffer>;

const word = { written: 0, read: 1, lost: 2 } as const;
const headWords = 4;
const entryWords = 4;
/** 0.6 s of a hundred thousand responses a second; a power of two. */
const entries = 65_536;

export function newSentRing(): SentRing {
  return new Int32Array(new SharedArrayBuffer((headWords + entries * entryWords) * Int32Array.BYTES_PER_ELEMENT));
}

/** @param number of the ready response */
export function noteSent(ring: SentRing, number: number, status: number, bodyBytes: number): void {
  const written = ring[word.written] as number;
  if (((written - Atomics.load(ring, word.read)) | 0) >= entries) {
    ring[word.lost] = (ring[word.lost] as number) + 1;
    return;
  }
  const at = headWords + (written & (entries - 1)) * entryWords;
  ring[at] = number;
  ring[at + 1] = status;
  ring[at + 2] = bodyBytes;
  Atomics.store(ring, word.written, (written + 1) | 0);
}

/** Reads what was written since the last call. */
export function takeSent(ring: SentRing, taken: (number: number, status: number, bodyBytes: number) => void): void {
  const written = Atomics.load(ring, word.written);
  let read = ring[word.read] as number;
  for (; read !== written; read = (read + 1) | 0) {
    const at = headWords + (read & (entries - 1)) * entryWords;
    taken(ring[at] as number, ring[at + 1] as number, ring[at + 2] as number);
  }
  Atomics.store(ring, word.read, read);
}

/** Responses that were sent and not written down. */
export function lostOf(ring: SentRing): number {
  return ring[word.lost] as number;
}

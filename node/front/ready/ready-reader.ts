/** Finds the ready response for a request. Allocates nothing, takes no lock, and never waits. */
import type { RequestHead } from "../request-head.ts";
import { bucketOf, hashOf, isFor } from "./ready-key.ts";
import { control, lineBytes, type ReadyMemory, slotsPerBucket } from "./ready-memory.ts";
import { recordDouble, recordWord } from "./ready-record.ts";

/**
 * The line of a record that is valid for this request now, or 0.
 * @param head of a whole and plain request
 */
export function findReady(memory: ReadyMemory, bytes: Buffer, head: RequestHead, wallMs: number): number {
  const { words, doubles, buckets, indexWord, seed } = memory;
  const stamp = Atomics.load(words, control.stamp);
  if (stamp === 0) return 0;
  const hash = hashOf(bytes, head, seed);
  const first = indexWord + bucketOf(hash, buckets) * slotsPerBucket * 2;
  for (let slot = first; slot < first + slotsPerBucket * 2; slot += 2) {
    if (words[slot] !== hash) continue;
    const line = Atomics.load(words, slot + 1);
    if (line === 0) continue;
    const at = (line * lineBytes) / 4;
    // The slot may have got another record between the two reads.
    if (words[at + recordWord.hash] !== hash || words[at + recordWord.stamp] !== stamp) continue;
    const double = (line * lineBytes) / 8;
    if (wallMs >= (doubles[double + recordDouble.endsAtMs] as number)) continue;
    // A clock that was set back: the application decides.
    if (wallMs < (doubles[double + recordDouble.bornAtMs] as number)) continue;
    if (isFor(memory, at, bytes, head)) return line;
  }
  return 0;
}

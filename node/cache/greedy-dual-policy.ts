/**
 * The eviction policy of the memory tier: Greedy-Dual-Size-Frequency (Cherkasova, 1998). Pure.
 *
 *   H = L + frequency · cost / bytes        the victim is the object with the smallest H; then L := H of the victim
 *
 * Objects that are requested often, expensive to make and small stay. L rises with each eviction, so an object that is
 * no longer used falls behind new ones. The frequency comes from a sketch (frequency-sketch.ts) that also remembers
 * objects that are not stored: a popular object that was evicted comes back with the rank that it had.
 *
 * An operation takes O(log n) and allocates nothing, except when the arrays grow.
 */
import type { EvictionPolicy } from "./eviction-policy.ts";
import { addToSketch, createFrequencySketch, fitSketch, frequencyInSketch } from "./frequency-sketch.ts";
import { addKey, createKeySlots, hashOf, removeKey, slotOf } from "./key-slots.ts";
import {
  changePriority,
  createPriorityHeap,
  growHeap,
  priorityOf,
  pushToHeap,
  removeFromHeap,
  smallestOf,
} from "./priority-heap.ts";

export interface GreedyDualPolicy extends EvictionPolicy {
  /** Each object that is stored has a slot below this number, and keeps it. */
  slots: () => number;
  /**
   * Whether an object that is not stored is worth more than the next victim, by their frequencies alone: L is ignored,
   * so that an object that is only as popular as the victim does not take its place. (TinyLFU: Einziger, Friedman and
   * Manes, 2017.) Counts as a use.
   */
  isWorthMore: (key: string, bytes: number, costMs: number) => boolean;
  /** The key of the object in a slot, if there is one. */
  keyAt: (slot: number) => string | undefined;
  /** The memory of the policy's own data. */
  memoryBytes: () => number;
}

/** A pointer to a key in an array. The keys themselves are those of the cache. */
const pointerBytes = 8;

export function createGreedyDualPolicy(): GreedyDualPolicy {
  const slots = createKeySlots();
  const heap = createPriorityHeap(slots.capacity);
  const sketch = createFrequencySketch();
  /** slot ──▶ cost / bytes, in ms per byte */
  let worths = new Float32Array(slots.capacity);
  /** L, which only rises. */
  let floor = 0;

  function fitSlots(): void {
    growHeap(heap, slots.capacity);
    const before = worths;
    worths = new Float32Array(slots.capacity);
    worths.set(before);
  }

  return {
    inserted(key, bytes, costMs) {
      const hash = hashOf(key);
      const slot = addKey(slots, key, hash);
      if (slots.capacity > worths.length) fitSlots();
      fitSketch(sketch, slots.size);
      const worth = costMs / bytes;
      worths[slot] = worth;
      pushToHeap(heap, slot, floor + addToSketch(sketch, hash) * worth);
    },
    used(key) {
      const hash = hashOf(key);
      const slot = slotOf(slots, key, hash);
      if (slot === undefined) return;
      changePriority(heap, slot, floor + addToSketch(sketch, hash) * (worths[slot] as number));
    },
    removed(key) {
      const slot = slotOf(slots, key, hashOf(key));
      if (slot === undefined) return;
      removeFromHeap(heap, slot);
      removeKey(slots, slot);
    },
    victim() {
      const slot = smallestOf(heap);
      if (slot === undefined) return undefined;
      floor = priorityOf(heap, slot);
      return slots.keys[slot];
    },
    isWorthMore(key, bytes, costMs) {
      const worth = (addToSketch(sketch, hashOf(key)) * costMs) / bytes;
      const victim = smallestOf(heap);
      if (victim === undefined) return true;
      return worth > frequencyInSketch(sketch, slots.hashes[victim] as number) * (worths[victim] as number);
    },
    slots: () => slots.used,
    keyAt: (slot) => slots.keys[slot],
    memoryBytes: () =>
      slots.capacity * pointerBytes +
      [slots.hashes, slots.table, heap.priorities, heap.slots, heap.places, worths, sketch.words].reduce(
        (sum, array) => sum + array.byteLength,
        0,
      ),
  };
}

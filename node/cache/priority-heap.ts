/**
 * A heap of slots, the smallest priority first, in which each slot can be found, moved and removed: an indexed 4-ary
 * heap over typed arrays. Pure. A slot is a small number that the caller gives out, each at most once at a time.
 *
 *   place in the heap ──▶ priorities, slots          slot ──▶ places
 *   the children of place p are 4p + 1 … 4p + 4
 *
 * Four children for each node instead of two: half the levels, and the priorities of the four stand side by side in
 * memory. It takes 16 bytes for each slot.
 */
const children = 4;

export interface PriorityHeap {
  priorities: Float64Array;
  slots: Uint32Array;
  places: Uint32Array;
  size: number;
}

/** @param capacity slots are below it */
export function createPriorityHeap(capacity: number): PriorityHeap {
  return {
    priorities: new Float64Array(capacity),
    slots: new Uint32Array(capacity),
    places: new Uint32Array(capacity),
    size: 0,
  };
}

/** Makes room for more slots. */
export function growHeap(heap: PriorityHeap, capacity: number): void {
  const { priorities, slots, places } = heap;
  heap.priorities = new Float64Array(capacity);
  heap.priorities.set(priorities);
  heap.slots = new Uint32Array(capacity);
  heap.slots.set(slots);
  heap.places = new Uint32Array(capacity);
  heap.places.set(places);
}

/** The slot with the smallest priority; undefined: the heap is empty. */
export function smallestOf({ slots, size }: PriorityHeap): number | undefined {
  return size === 0 ? undefined : slots[0];
}

/** @param slot in the heap */
export function priorityOf({ priorities, places }: PriorityHeap, slot: number): number {
  return priorities[places[slot] as number] as number;
}

/** @param slot not in the heap */
export function pushToHeap(heap: PriorityHeap, slot: number, priority: number): void {
  heap.size += 1;
  moveUp(heap, slot, priority, heap.size - 1);
}

/** @param slot in the heap */
export function changePriority(heap: PriorityHeap, slot: number, priority: number): void {
  const place = heap.places[slot] as number;
  if (priority < (heap.priorities[place] as number)) moveUp(heap, slot, priority, place);
  else moveDown(heap, slot, priority, place);
}

/** @param slot in the heap */
export function removeFromHeap(heap: PriorityHeap, slot: number): void {
  const { priorities, slots, places } = heap;
  heap.size -= 1;
  const last = slots[heap.size] as number;
  if (last === slot) return;
  // The last one fills the gap. It comes from another branch, so it can be too small for the gap or too large.
  const lastPriority = priorities[heap.size] as number;
  const place = places[slot] as number;
  if (lastPriority < (priorities[place] as number)) moveUp(heap, last, lastPriority, place);
  else moveDown(heap, last, lastPriority, place);
}

/** Puts `slot` at `place` or above it. */
function moveUp({ priorities, slots, places }: PriorityHeap, slot: number, priority: number, place: number): void {
  let at = place;
  while (at > 0) {
    const above = (at - 1) >>> 2;
    const abovePriority = priorities[above] as number;
    if (abovePriority <= priority) break;
    const aboveSlot = slots[above] as number;
    priorities[at] = abovePriority;
    slots[at] = aboveSlot;
    places[aboveSlot] = at;
    at = above;
  }
  priorities[at] = priority;
  slots[at] = slot;
  places[slot] = at;
}

/** Puts `slot` at `place` or below it. */
function moveDown(heap: PriorityHeap, slot: number, priority: number, place: number): void {
  const { priorities, slots, places, size } = heap;
  let at = place;
  for (;;) {
    const first = at * children + 1;
    if (first >= size) break;
    const end = Math.min(first + children, size);
    let smallest = first;
    let smallestPriority = priorities[first] as number;
    for (let child = first + 1; child < end; child += 1) {
      const childPriority = priorities[child] as number;
      if (childPriority >= smallestPriority) continue;
      smallest = child;
      smallestPriority = childPriority;
    }
    if (smallestPriority >= priority) break;
    const smallestSlot = slots[smallest] as number;
    priorities[at] = smallestPriority;
    slots[at] = smallestSlot;
    places[smallestSlot] = at;
    at = smallest;
  }
  priorities[at] = priority;
  slots[at] = slot;
  places[slot] = at;
}

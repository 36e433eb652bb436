import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import {
  changePriority,
  createPriorityHeap,
  growHeap,
  priorityOf,
  pushToHeap,
  removeFromHeap,
  smallestOf,
} from "../../../node/cache/priority-heap.ts";

test("whatever is pushed, changed and removed, the smallest is first, and each slot has its priority", () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const random = seededRandom(seed);
    let capacity = 8;
    const heap = createPriorityHeap(capacity);
    const model = new Map<number, number>();
    for (let step = 0; step < 2000; step += 1) {
      const slot = Math.floor(capacity * random());
      // Few priorities, so that many are equal.
      const priority = Math.floor(20 * random());
      if (!model.has(slot)) {
        pushToHeap(heap, slot, priority);
        model.set(slot, priority);
      } else if (random() < 0.5) {
        changePriority(heap, slot, priority);
        model.set(slot, priority);
      } else {
        removeFromHeap(heap, slot);
        model.delete(slot);
      }
      if (step % 300 === 299) growHeap(heap, (capacity *= 2));
      const smallest = smallestOf(heap);
      const what = `seed ${seed}, step ${step}`;
      assert.equal(heap.size, model.size, what);
      assert.equal(smallest === undefined ? undefined : model.get(smallest), smallestValue(model), what);
      if (step % 50 === 0) for (const [other, value] of model) assert.equal(priorityOf(heap, other), value, what);
    }
    const left: number[] = [];
    for (let slot = smallestOf(heap); slot !== undefined; slot = smallestOf(heap)) {
      left.push(priorityOf(heap, slot));
      removeFromHeap(heap, slot);
    }
    assert.deepEqual(
      left,
      [...model.values()].toSorted((a, b) => a - b),
      `seed ${seed}`,
    );
  }
});

function smallestValue(model: ReadonlyMap<number, number>): number | undefined {
  return model.size === 0 ? undefined : Math.min(...model.values());
}

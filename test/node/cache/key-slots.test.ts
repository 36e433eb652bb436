import assert from "node:assert/strict";
import { test } from "node:test";
import { seededRandom } from "#base/random.ts";
import { addKey, createKeySlots, removeKey, slotOf } from "../../../node/cache/key-slots.ts";

test("each key of the set has a slot of its own, also among keys with equal hashes", () => {
  // The fewer bits a hash has, the more often two keys meet in the table.
  for (const [seed, hashMask] of [
    [1, 0xffff_ffff],
    [2, 0xff],
    [3, 0x3],
  ] as const) {
    const random = seededRandom(seed);
    const hashed = (key: string): number => (Math.imul(Number(key) + 1, 0x9e37_79b1) & hashMask) >>> 0;
    const slots = createKeySlots();
    const model = new Map<string, number>();
    for (let step = 0; step < 20_000; step += 1) {
      const key = String(Math.floor(300 * random()));
      const slot = slotOf(slots, key, hashed(key));
      const what = `seed ${seed}, step ${step}`;
      assert.equal(slot, model.get(key), what);
      if (slot === undefined) {
        const added = addKey(slots, key, hashed(key));
        assert(added < slots.capacity && !new Set(model.values()).has(added), what);
        assert.equal(slots.keys[added], key, what);
        model.set(key, added);
      } else {
        removeKey(slots, slot);
        model.delete(key);
      }
      assert.equal(slots.size, model.size, what);
    }
    assert(slots.capacity < 500, "slots of removed keys are used again");
  }
});

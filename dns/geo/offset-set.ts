/**
 * A set of offsets into the data section, and the number of each in ascending order: one bit per octet of the section
 * and one count per 32 of them, so that millions of leaves find their record's value without hashing, and the records
 * are decoded in file order.
 *
 *   bits     0100 0100 │ 0000 0001 │ …     offsets 1, 5, 15
 *   before   0         │ 2         │ …     members before each word: number of 15 = 2 + members before it in its word
 */
export interface OffsetSet {
  /** Members in ascending order. */
  readonly members: Uint32Array;
  /** Index of a member in `members`. */
  numberOf: (offset: number) => number;
}

export interface OffsetCollector {
  add: (offset: number) => void;
  finish: () => OffsetSet;
}

/** @param length offsets are below this */
export function collectOffsets(length: number): OffsetCollector {
  const bits = new Uint32Array((length >>> 5) + 1);
  return {
    add(offset) {
      const word = offset >>> 5;
      bits[word] = (bits[word] ?? 0) | (1 << (offset & 31));
    },
    finish() {
      const before = new Uint32Array(bits.length);
      let size = 0;
      for (let word = 0; word < bits.length; word++) {
        before[word] = size;
        size += onesIn(bits[word] ?? 0);
      }
      const members = new Uint32Array(size);
      let found = 0;
      for (let word = 0; word < bits.length; word++) {
        for (let rest = bits[word] ?? 0; rest !== 0; rest &= rest - 1) {
          members[found++] = word * 32 + (31 - Math.clz32(rest & -rest));
        }
      }
      return {
        members,
        numberOf: (offset) => {
          const word = offset >>> 5;
          return (before[word] ?? 0) + onesIn((bits[word] ?? 0) & ((1 << (offset & 31)) - 1));
        },
      };
    },
  };
}

/** Number of 1 bits: adds neighboring fields of doubling width, in parallel. */
function onesIn(word: number): number {
  const pairs = word - ((word >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/**
 * Response rate limiting: a limit on UDP answers per second to one client network (a /24, or an IPv6 /56). It bounds
 * the traffic that spoofed queries can reflect to a victim. Clients that have proved their address (TCP, a valid
 * cookie) are not limited.
 *
 * Each network has a leaky bucket that holds one second's worth of answers. A bucket is a single number: the time at
 * which it will be empty.
 *
 *   now            emptyAt               now + 1000 ms
 *    ├───────────────┤ · · · · · · · · · · ┤            an answer moves emptyAt by 1000 ms / rate;
 *         fullness           room                       past the right end: limited
 *
 * The table is open-addressed: a network's hash selects a group of 8 slots, and the network may be in any of them.
 *
 *   [hash tables 7 × 256 words] [emptyAt: one double a slot] [network: two words a slot] [limited: one word a slot]
 *
 * - Bounded: a decision looks at 8 slots and no more. If the network is in none of them, it replaces the emptiest
 *   bucket, whose network was the closest to being forgotten anyway. A network that loses its bucket gets at most
 *   another second's worth. Nobody is ever limited because of a neighbor's answers, so pressure on the table makes the
 *   limit lenient, never strict. With 65,536 slots in 8,192 groups, a bucket can be lost before it is empty only if 8
 *   other networks that are active in the same second fall into its group: 1 in 100,000 with 8,192 networks, 1 in 100
 *   with 24,000. And a bucket that is limiting is the last of its group to be replaced.
 * - Nobody can target a group: the hash is tabulation hashing (each octet of the network selects a random word, and the
 *   words are XORed) over random tables that are generated at start and never leave memory.
 * - Threads share the table without locks. Two threads that count an answer for the same network at the same moment may
 *   count only one. Two that take the same slot for two networks at the same moment may leave one network's name with
 *   the other's bucket, for at most the second that a full bucket needs to drain. Neither is worth a lock.
 * - Time may go backwards: a bucket with an impossibly late emptyAt counts as empty. So a network is never limited for
 *   more than a second too long, and gets at most another second's worth.
 */
import { randomFillSync } from "node:crypto";
import type { IpAddress } from "../wire/address.ts";
import { byteAt } from "../wire/bytes.ts";

export interface RateSettings {
  /** Answers per second to one network, and the largest burst. Must be above 0. */
  readonly responsesPerSecond: number;
  /** Every Nth limited query of a network gets an empty answer that asks for TCP; 0: none. */
  readonly slip: number;
}

/** Answer. */
export const rateAnswer = 0;
/** Send an empty answer with TC=1, so that a real client retries over TCP. */
export const rateSlip = 1;
/** Send nothing. */
export const rateDrop = 2;
export type RateDecision = typeof rateAnswer | typeof rateSlip | typeof rateDrop;

export interface RateLimit {
  /**
   * Counts one answer to `address`, unless it is limited.
   * @param nowMs any clock, the same one for all threads that share the table
   */
  decide: (address: IpAddress, nowMs: number) => RateDecision;
}

const windowMs = 1000;
/** No bucket becomes empty later than this, even if another thread read the clock a little later than this one. */
const impossibleMs = 2 * windowMs;
/** The buckets' clock wraps every 4.7 hours. That is one case of time going backwards. */
const wrapMs = 2 ** 24;
const groupSlots = 8;
/** Octets that identify a network: three of an IPv4 address, seven of an IPv6 address. */
const octetsMax = 7;
const hashWords = octetsMax * 256;
const hashBytes = hashWords * Uint32Array.BYTES_PER_ELEMENT;
const slotBytes = Float64Array.BYTES_PER_ELEMENT + 3 * Uint32Array.BYTES_PER_ELEMENT;
const slotsDefault = 65_536;

/**
 * Creates a table for createRateLimit(), for sharing with other threads.
 * @param slots number of networks that it can hold: a power of two, 8 or more; 20 octets each
 * @param fill fills the hash tables with random words that nobody outside can guess
 */
export function newRateTable(
  slots: number = slotsDefault,
  fill: (words: Uint32Array) => void = (words) => {
    // randomFillSync() does not accept shared memory.
    words.set(randomFillSync(new Uint32Array(words.length)));
  },
): SharedArrayBuffer {
  if (!Number.isInteger(slots) || slots < groupSlots || (slots & (slots - 1)) !== 0) {
    throw new RangeError(`slots of the rate table: ${slots} is not a power of two from ${groupSlots}`);
  }
  const table = new SharedArrayBuffer(hashBytes + slots * slotBytes);
  fill(new Uint32Array(table, 0, hashWords));
  return table;
}

/** @param table from newRateTable(); each thread creates its own limit over it, with the same settings */
export function createRateLimit(settings: RateSettings, table: SharedArrayBuffer): RateLimit {
  const { slip } = settings;
  const answerMs = windowMs / settings.responsesPerSecond;
  // Leave half an answer on either side as a margin for rounding.
  const fullMs = windowMs - answerMs / 2;
  const slots = (table.byteLength - hashBytes) / slotBytes;
  const groupMask = slots / groupSlots - 1;
  const hashes = new Uint32Array(table, 0, hashWords);
  const emptyAt = new Float64Array(table, hashBytes, slots);
  const networks = new Uint32Array(table, hashBytes + slots * 8, slots * 2);
  const limited = new Uint32Array(table, hashBytes + slots * 16, slots);

  function decide(address: IpAddress, nowMs: number): RateDecision {
    const { bytes } = address;
    let hash =
      (hashes[byteAt(bytes, 0)] ?? 0) ^
      (hashes[0x100 | byteAt(bytes, 1)] ?? 0) ^
      (hashes[0x200 | byteAt(bytes, 2)] ?? 0);
    let high = ((byteAt(bytes, 0) << 16) | (byteAt(bytes, 1) << 8) | byteAt(bytes, 2)) >>> 0;
    // The family is part of the key, and 0 marks a free slot.
    let low = 4;
    if (address.family === 6) {
      hash ^=
        (hashes[0x300 | byteAt(bytes, 3)] ?? 0) ^
        (hashes[0x400 | byteAt(bytes, 4)] ?? 0) ^
        (hashes[0x500 | byteAt(bytes, 5)] ?? 0) ^
        (hashes[0x600 | byteAt(bytes, 6)] ?? 0);
      high = ((high << 8) | byteAt(bytes, 3)) >>> 0;
      low = ((byteAt(bytes, 4) << 24) | (byteAt(bytes, 5) << 16) | (byteAt(bytes, 6) << 8) | 6) >>> 0;
    }
    // Keep only the lower part of the time, so that rounding does not lose small fractions of an answer.
    const now = nowMs - Math.floor(nowMs / wrapMs) * wrapMs;
    const first = (hash & groupMask) * groupSlots;
    const end = first + groupSlots;
    let slot = first;
    while (slot < end && (networks[slot * 2] !== high || networks[slot * 2 + 1] !== low)) slot++;
    if (slot === end) {
      slot = emptiestFrom(first, now);
      networks[slot * 2] = high;
      networks[slot * 2 + 1] = low;
      limited[slot] = 0;
      emptyAt[slot] = now + answerMs;
      return rateAnswer;
    }
    const at = emptyAt[slot] ?? 0;
    const from = at < now || at > now + impossibleMs ? now : at;
    if (from - now <= fullMs) {
      emptyAt[slot] = from + answerMs;
      return rateAnswer;
    }
    if (slip === 0) return rateDrop;
    const times = (limited[slot] ?? 0) + 1;
    if (times < slip) {
      limited[slot] = times;
      return rateDrop;
    }
    limited[slot] = 0;
    return rateSlip;
  }

  /** The slot of the group whose bucket will be empty first, or has never been used. */
  function emptiestFrom(first: number, now: number): number {
    let slot = first;
    let earliest = Number.POSITIVE_INFINITY;
    for (let candidate = first; candidate < first + groupSlots; candidate++) {
      let at = emptyAt[candidate] ?? 0;
      if (at > now + impossibleMs) at = 0;
      if (at < earliest) {
        earliest = at;
        slot = candidate;
      }
    }
    return slot;
  }

  return { decide };
}

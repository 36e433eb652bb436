/**
 * S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023), for the
 * comparison: a small queue that filters out what is requested once, a main queue, and a ghost queue of keys.
 *
 *   new ──▶ small (10 % of the bytes) ──requested again──▶ main ──requested──▶ main, once more
 *             └─else─▶ ghost ──requested again──▶ main      └─else─▶ evicted
 */
import type { EvictionPolicy } from "../../node/cache/eviction-policy.ts";
import { createKeyQueue } from "./key-queue.ts";

interface Entry {
  bytes: number;
  /** 0 to 3: requests since it entered its queue. */
  requests: number;
}

const smallShare = 0.1;
const requestsMax = 3;

/** @param bytesMax of the cache */
export function createS3FifoPolicy(bytesMax: number): EvictionPolicy {
  const small = createKeyQueue<Entry>();
  const main = createKeyQueue<Entry>();
  /** As many keys as the main queue has. */
  const ghost = createKeyQueue<true>();
  let smallBytes = 0;

  /** Moves what was requested again to the main queue until the oldest one was not. */
  function victimOfSmall(): string | undefined {
    for (let oldest = small.oldest(); oldest !== undefined; oldest = small.oldest()) {
      const { key, value } = oldest;
      if (value.requests === 0) return key;
      small.remove(key);
      smallBytes -= value.bytes;
      main.push(key, { bytes: value.bytes, requests: 0 });
      if (!isSmallFull()) return victimOfMain();
    }
    return undefined;
  }

  function victimOfMain(): string | undefined {
    for (let oldest = main.oldest(); oldest !== undefined; oldest = main.oldest()) {
      const { key, value } = oldest;
      if (value.requests === 0) return key;
      main.remove(key);
      main.push(key, { bytes: value.bytes, requests: value.requests - 1 });
    }
    return undefined;
  }

  function isSmallFull(): boolean {
    return smallBytes > bytesMax * smallShare || main.size() === 0;
  }

  return {
    inserted(key, bytes) {
      if (ghost.remove(key)) {
        main.push(key, { bytes, requests: 0 });
        return;
      }
      small.push(key, { bytes, requests: 0 });
      smallBytes += bytes;
    },
    used(key) {
      const entry = small.get(key) ?? main.get(key);
      if (entry !== undefined) entry.requests = Math.min(entry.requests + 1, requestsMax);
    },
    removed(key) {
      const entry = small.get(key);
      if (entry === undefined) {
        main.remove(key);
        return;
      }
      small.remove(key);
      smallBytes -= entry.bytes;
      ghost.push(key, true);
      while (ghost.size() > main.size()) ghost.remove(ghost.oldest()?.key ?? "");
    },
    victim: () => (isSmallFull() ? victimOfSmall() : undefined) ?? victimOfMain() ?? victimOfSmall(),
  };
}

/**
 * Reads stored blobs again and compares them with their hashes, step by step. The client drives it: each answer has a
 * cursor, so stopping costs nothing and continuing needs no state here. One step runs at a time, and each one waits in
 * proportion to the bytes of the previous one, so the disk stays available for uploads and edges.
 */
import { sleep, type Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { BlobUse, Catalogue } from "../catalogue/catalogue.ts";
import type { BlobStore } from "./blob-store.ts";

export interface BlobFault {
  readonly sha256: string;
  readonly fault: "missing" | "damaged";
  readonly detail: string;
  /** The first usesMax versions that refer to it, current ones first. */
  readonly uses: readonly BlobUse[];
}

export interface VerifyStep {
  readonly checked: { readonly count: number; readonly sizeBytes: number };
  readonly faults: readonly BlobFault[];
  /** Continue after this; undefined: all are checked. */
  readonly cursor: string | undefined;
}

export interface Verifier {
  /**
   * @param after the cursor of the previous step, or "" to begin
   * @throws NearcastError OVERLOADED while another step runs; the signal's reason
   */
  readonly step: (after: string, signal: AbortSignal) => Promise<VerifyStep>;
}

/** A step ends after this time, so that a progress bar moves; one large blob may take longer. */
const stepMs = 500;
/**
 * A step ends before it costs more than this, unless it is one large blob: the next step waits that long before it
 * reads, and its client waits for the answer. At the slowest rate the largest blob (100 MiB) costs 10.5 s; the
 * command's deadline for an answer is 15 s.
 */
const stepPaidMs = 2000;
const stepBlobsMax = 1000;
/** How many names are listed for one blob. */
const usesMax = 20;

export function openVerifier(deps: {
  store: Pick<BlobStore, "verify">;
  catalogue: Pick<Catalogue, "blobsAfter" | "usesOfBlob">;
  clock: Clock;
  bytesPerSecond: number;
}): Verifier {
  const { store, catalogue, clock, bytesPerSecond } = deps;
  const stepBytes = (bytesPerSecond * stepPaidMs) / 1000;
  let isRunning = false;
  let freeAtMs = 0;

  const look = async (sha256: string, sizeBytes: number, signal: AbortSignal): Promise<BlobFault | undefined> => {
    const verdict = await store.verify(sha256, sizeBytes, signal);
    if (verdict.outcome === "good") return undefined;
    const uses = await catalogue.usesOfBlob(sha256, usesMax);
    // Pruned and swept since it was listed, so it is not missing.
    if (uses.length === 0) return undefined;
    const detail = verdict.outcome === "damaged" ? verdict.detail : "it is missing";
    return { sha256, fault: verdict.outcome, detail, uses };
  };

  const run = async (after: string, signal: AbortSignal): Promise<VerifyStep> => {
    const waitMs = freeAtMs - clock.monotonicMs();
    if (waitMs > 0) await sleep(clock, waitMs, signal);
    const beganMs = clock.monotonicMs();
    const faults: BlobFault[] = [];
    const checked = { count: 0, sizeBytes: 0 };
    let cursor: string | undefined;
    const blobs = await catalogue.blobsAfter(after, stepBlobsMax);
    for (const { sha256, sizeBytes } of blobs) {
      if (checked.count > 0 && checked.sizeBytes + sizeBytes > stepBytes) break;
      const fault = await look(sha256, sizeBytes, signal);
      if (fault !== undefined) faults.push(fault);
      checked.count += 1;
      checked.sizeBytes += sizeBytes;
      cursor = sha256;
      if (clock.monotonicMs() - beganMs >= stepMs) break;
    }
    freeAtMs = beganMs + (checked.sizeBytes / bytesPerSecond) * 1000;
    const isOver = checked.count === blobs.length && blobs.length < stepBlobsMax;
    return { checked, faults, cursor: isOver ? undefined : cursor };
  };

  return {
    step: async (after, signal) => {
      if (isRunning) throw new NearcastError("OVERLOADED", "another verification is running");
      isRunning = true;
      try {
        return await run(after, signal);
      } finally {
        isRunning = false;
      }
    },
  };
}

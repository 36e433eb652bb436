/**
 * One upload, from its first byte to the version that refers to it:
 *
 *   receive ─▶ known bytes? ──yes──────────────────────▶ hold ─▶ store ─▶ catalogue ─▶ wake the feed
 *   (store)        └──no──▶ decode in another process ──▶   (nobody sweeps the blob in between)
 *
 * Everything before `store` can fail without a trace. The blob is durable before the catalogue names it, so whenever
 * the machine dies, an acknowledged version has its bytes. A stored blob that is missing or damaged is replaced on the
 * way, even if the catalogue has nothing to change.
 */
import type { Readable } from "node:stream";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openGate } from "#base/gate.ts";
import type { UploadLimitsOfFleet } from "../fleet/upload-limits.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import type { BlobFacts, Catalogue, Change, PutOutcome } from "../catalogue/catalogue.ts";
import type { BlobStore } from "../store/blob-store.ts";
import type { Holds } from "../store/holds.ts";
import { receiveUpload, type Received } from "./receive-upload.ts";

/** Checks a picture by decoding all of it, in a place where hostile bytes do no harm. */
export interface Inspector {
  /** @throws NearcastError UNSUPPORTED_IMAGE, BROKEN_IMAGE, TOO_MANY_PIXELS, DECODER_*, OVERLOADED */
  readonly inspect: (
    source: Buffer,
    options: { pixelsMax: number; timeoutMs: number; signal?: AbortSignal },
  ) => Promise<PictureFacts>;
}

export interface UploadLimits {
  readonly uploadsMax: number;
  readonly inspectionsMax: number;
  readonly inspectionTimeoutMs: number;
  readonly uploadStallMs: number;
  readonly uploadTimeoutMs: number;
}

export interface Uploads {
  /**
   * @throws NearcastError of receiving, of inspecting, of the disk; OVERLOADED when too many run
   */
  readonly put: (
    name: string,
    body: Readable,
    change: Change,
    limits: UploadLimitsOfFleet,
  ) => Promise<PutOutcome & { wasStored: boolean; wasRepaired: boolean }>;
  readonly counts: () => { running: number; inspecting: number; waiting: number };
  /** Resolves when no upload is running. */
  readonly settled: () => Promise<void>;
}

export function openUploads(deps: {
  store: BlobStore;
  catalogue: Catalogue;
  holds: Holds;
  inspector: Inspector;
  clock: Clock;
  limits: UploadLimits;
}): Uploads {
  const { store, catalogue, holds, inspector, clock, limits } = deps;
  // Twice the time of one inspection: a request that waits longer is told to come again, long before the client gives
  // up. Each inspection holds a whole file in memory. Waiting uploads are bounded by the number of concurrent uploads.
  const gate = openGate({
    slots: limits.inspectionsMax,
    waitingMax: () => limits.uploadsMax,
    waitMsMax: 2 * limits.inspectionTimeoutMs,
    clock,
  });
  let running = 0;
  let idle: PromiseWithResolvers<void> | undefined;

  const inspect = async (received: Received, pixelsMax: number): Promise<PictureFacts> => {
    const known = await catalogue.blob(received.sha256);
    if (known !== undefined) {
      const pixels = known.width * known.height * known.frames;
      if (pixels <= pixelsMax) return known;
      throw new NearcastError(
        "TOO_MANY_PIXELS",
        `the picture must not have more than ${pixelsMax} pixels (got ${pixels})`,
      );
    }
    const facts = await gate.pass(async () => {
      const source = await received.incoming.read();
      return await inspector.inspect(source, { pixelsMax, timeoutMs: limits.inspectionTimeoutMs });
    });
    if (facts.type === received.type) return facts;
    throw new NearcastError("BROKEN_IMAGE", `the picture starts as ${received.type} but decodes as ${facts.type}`);
  };

  return {
    put: async (name, body, change, fleetLimits) => {
      if (running >= limits.uploadsMax) {
        throw new NearcastError(
          "OVERLOADED",
          `${limits.uploadsMax} uploads are running, the most at a time; try again in a moment`,
        );
      }
      running += 1;
      let received: Received | undefined;
      try {
        const { uploadStallMs: stallMs, uploadTimeoutMs: timeoutMs } = limits;
        const receiveLimits = { sizeBytesMax: fleetLimits.sourceBytesMax, stallMs, timeoutMs };
        const taken = (received = await receiveUpload(body, store, receiveLimits, clock));
        const facts = await inspect(taken, fleetLimits.sourcePixelsMax);
        const { sha256, sizeBytes } = taken;
        const blob: BlobFacts = { ...facts, sha256, sizeBytes };
        return await holds.hold(sha256, async () => {
          const wasKnown = (await catalogue.blob(sha256)) !== undefined;
          const { before } = await taken.incoming.commit();
          const wasRepaired = wasKnown && before !== "good";
          if (wasRepaired) {
            const fault = before === "none" ? "missing" : "damaged";
            await catalogue.record(change.actor, { kind: "repair", targets: [name], facts: { sha256, fault } });
          }
          return { ...(await catalogue.put(name, blob, change)), wasStored: before === "good", wasRepaired };
        });
      } finally {
        await received?.incoming.discard();
        running -= 1;
        if (running === 0) idle?.resolve();
      }
    },
    counts: () => {
      const { running: inspecting, waiting } = gate.counts();
      return { running, inspecting, waiting };
    },
    settled: async () => {
      if (running === 0) return;
      idle ??= Promise.withResolvers<void>();
      await idle.promise;
    },
  };
}

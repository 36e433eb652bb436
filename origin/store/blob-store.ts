/**
 * Stores bytes by content: a blob's key is the SHA-256 of its bytes, so equal bytes are stored once and a stored blob
 * never changes. directory-store.ts stores them as files; an object store could be a second implementation.
 *
 *   begin() ─▶ write… ─▶ finish() ─▶ commit()   durable under its key
 *                   └──────────┴───▶ discard()  nothing of it remains
 */

export interface ReceivedBlob {
  /** 64 hexadecimal digits, lower case. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Bytes being received. Whoever calls begin() must end with commit or discard. */
export interface IncomingBlob {
  readonly write: (chunk: Uint8Array) => Promise<void>;
  /** Call this after the last byte: then all bytes are on disk, though under no key yet. */
  readonly finish: () => Promise<ReceivedBlob>;
  /** All bytes, after finish. The caller limits how many are in memory at a time. */
  readonly read: () => Promise<Buffer>;
  /**
   * Durably stores the bytes under their key. The caller holds the key meanwhile (see holds.ts). An existing blob is
   * read again, and replaced if it is damaged.
   * @returns what was under the key before
   */
  readonly commit: () => Promise<{ before: "none" | "good" | "damaged" }>;
  /** Harmless after commit. */
  readonly discard: () => Promise<void>;
}

/** A blob opened for reading; it stays readable while it is removed. The opener must close it or stream it. */
export interface OpenBlob {
  /** Streams `sizeBytes` bytes from `start` and closes the blob at the end, or when the stream is destroyed. */
  readonly stream: (start: number, sizeBytes: number) => NodeJS.ReadableStream;
  readonly close: () => Promise<void>;
}

export type Verdict = { outcome: "good" | "missing" } | { outcome: "damaged"; detail: string };

/** Keys are divided by their first byte, so that a sweep has 256 steps. */
export const shardCount = 256;

export interface BlobStore {
  readonly begin: () => Promise<IncomingBlob>;
  readonly has: (sha256: string) => Promise<boolean>;
  /** @returns undefined when the blob does not exist; a file of another size is a DISK_FAILED */
  readonly open: (sha256: string, sizeBytes: number) => Promise<OpenBlob | undefined>;
  /** Reads the whole blob and compares its hash with the key. @throws only when `signal` aborts it */
  readonly verify: (sha256: string, sizeBytes: number, signal?: AbortSignal) => Promise<Verdict>;
  /** The keys of one shard, 0 to shardCount − 1. */
  readonly keys: (shard: number) => AsyncIterable<string>;
  readonly remove: (sha256: string) => Promise<void>;
}

/**
 * Where bytes are kept, by what they are: a blob's key is the SHA-256 of its bytes, so the same bytes are stored once
 * and a stored blob never changes. directory-store.ts keeps them as files; a bucket elsewhere can be a second
 * implementation.
 *
 *   begin() ─▶ write… ─▶ finish() ─▶ commit()   durable under its key
 *                   └──────────┴───▶ discard()  nothing of it remains
 */

export interface ReceivedBlob {
  /** 64 hexadecimal digits, lower case. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Bytes on their way in. Whoever began one must end it with commit or discard. */
export interface IncomingBlob {
  readonly write: (chunk: Uint8Array) => Promise<void>;
  /** After the last byte: they are on the disk, though under no key yet. */
  readonly finish: () => Promise<ReceivedBlob>;
  /** All bytes, after finish. The caller bounds how many are in memory at one time. */
  readonly read: () => Promise<Buffer>;
  /**
   * Puts the bytes under their key, durably. The caller holds the key meanwhile (see holds.ts). What is there already
   * is read again, and replaced when it is damaged.
   * @returns what was under the key before
   */
  readonly commit: () => Promise<{ before: "none" | "good" | "damaged" }>;
  /** Harmless after commit. */
  readonly discard: () => Promise<void>;
}

/** A blob opened for reading; it stays readable while it is removed. Whoever opened it must close it or stream it. */
export interface OpenBlob {
  /** Streams `sizeBytes` bytes from `start` and closes the blob at the end, or when the stream is destroyed. */
  readonly stream: (start: number, sizeBytes: number) => NodeJS.ReadableStream;
  readonly close: () => Promise<void>;
}

export type Verdict = { outcome: "good" | "missing" } | { outcome: "damaged"; detail: string };

/** Keys are spread by their first byte, so that a sweep can take them in 256 steps. */
export const shardCount = 256;

export interface BlobStore {
  readonly begin: () => Promise<IncomingBlob>;
  readonly has: (sha256: string) => Promise<boolean>;
  /** @returns undefined when the blob is not there; a file of another size is a DISK_FAILED */
  readonly open: (sha256: string, sizeBytes: number) => Promise<OpenBlob | undefined>;
  /** Reads the whole blob and compares it with its key. @throws only when `signal` ends it */
  readonly verify: (sha256: string, sizeBytes: number, signal?: AbortSignal) => Promise<Verdict>;
  /** The keys of one shard, 0 to shardCount − 1. */
  readonly keys: (shard: number) => AsyncIterable<string>;
  readonly remove: (sha256: string) => Promise<void>;
}

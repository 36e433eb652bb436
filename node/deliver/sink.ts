/**
 * A sink carries one response to a client or a peer.
 *
 * Order of calls: head(), then end(), or any number of write() and then end() or cut().
 */
export interface Sink {
  /**
   * @param fields names and values in turn
   * @param block lines of further fields, in front of them (cache/object.ts, headerBlockOf)
   * @throws Error for a field that can't be sent; nothing was sent then
   */
  readonly head: (status: number, fields: readonly string[], block?: Buffer | null) => void;
  /** Sends the head now, although no byte of the body is available yet. */
  readonly flush: () => void;
  /** Allows silence for this long: the connection is kept meanwhile. */
  readonly allowSilence: (timeMs: number) => void;
  /** Returns false when the receiver is behind: wait for drained() before the next write. */
  readonly write: (chunk: Buffer) => boolean;
  readonly end: (chunk?: Buffer) => void;
  /**
   * Like end(), with bytes that are valid during this call only.
   * @returns the buffer that holds the bytes that the system has not taken
   */
  readonly endBorrowed: (chunk: Uint8Array) => Buffer;
  /** Bytes that the system has not taken yet. */
  readonly pendingBytes: () => number;
  /** Resolves when the system has taken everything that was written, or when nothing can be written any more. */
  readonly taken: () => Promise<void>;
  /** Resolves when more can be written, or when nothing can be written any more. */
  readonly drained: () => Promise<void>;
  /** Whether the receiver is gone, or has everything. */
  readonly isClosed: () => boolean;
  /** Resolves when the receiver has everything, or is gone. */
  readonly closed: () => Promise<void>;
  /** Whether the receiver's connection took everything that was written up to end(). */
  readonly isComplete: () => boolean;
  /** Breaks off, so that the receiver sees that the response is incomplete. */
  readonly cut: () => void;
}

/**
 * How the pool and a decoder process talk over the child's standard input and output.
 *
 *   ┌─────────────┬───────────┬─────────────┬────────────┐
 *   │ header size │ body size │ header      │ body       │     sizes: 32-bit big-endian, in bytes
 *   │ 4 B         │ 4 B       │ JSON, UTF-8 │ raw bytes  │
 *   └─────────────┴───────────┴─────────────┴────────────┘
 *
 * Whoever reads gives bounds for both sizes and treats what lies beyond as a violation: a decoder that was taken over
 * by a hostile picture may write whatever it likes.
 */

export interface FrameLimits {
  readonly headerBytesMax: number;
  readonly bodyBytesMax: number;
}

export interface Frame {
  readonly header: unknown;
  readonly body: Buffer;
}

const prefixBytes = 8;

/** The frame up to its body; the body itself is written after it, uncopied. */
export function frameHead(header: unknown, bodyBytes: number): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const head = Buffer.allocUnsafe(prefixBytes + json.length);
  head.writeUInt32BE(json.length, 0);
  head.writeUInt32BE(bodyBytes, 4);
  json.copy(head, prefixBytes);
  return head;
}

/**
 * A function that takes the stream chunk by chunk and gives each whole frame to `onFrame`. It throws an Error on a
 * violation; after that the stream is of no more use. Bytes are held as the chunks that came and joined once.
 */
export function readFrames(limits: FrameLimits, onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let chunks: Buffer[] = [];
  let heldBytes = 0;
  let headerBytes = 0;
  let neededBytes = prefixBytes;
  let hasPrefix = false;

  const take = (): Buffer => {
    const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
    const rest = all.subarray(neededBytes);
    chunks = rest.length === 0 ? [] : [rest];
    heldBytes = rest.length;
    return all.subarray(0, neededBytes);
  };

  return (chunk) => {
    chunks.push(chunk);
    heldBytes += chunk.length;
    while (heldBytes >= neededBytes) {
      const bytes = take();
      if (!hasPrefix) {
        headerBytes = bytes.readUInt32BE(0);
        const bodyBytes = bytes.readUInt32BE(4);
        if (headerBytes > limits.headerBytesMax) throw new Error(`a header of ${headerBytes} bytes`);
        if (bodyBytes > limits.bodyBytesMax) throw new Error(`a body of ${bodyBytes} bytes`);
        neededBytes = headerBytes + bodyBytes;
        hasPrefix = true;
      } else {
        hasPrefix = false;
        neededBytes = prefixBytes;
        const header: unknown = JSON.parse(bytes.toString("utf8", 0, headerBytes));
        onFrame({ header, body: bytes.subarray(headerBytes) });
      }
    }
  };
}

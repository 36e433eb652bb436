/** Where the body of a response comes from. */

export type Source =
  /** The ready response, which is there until the end of the event, or a copy. */
  | { readonly kind: "memory"; readonly bytes: Buffer; at: number; readonly copiedBytes: number }
  /** A file of the ready response, for as long, or a descriptor of the stream's own. */
  | { readonly kind: "file"; readonly file: number; offset: number; readonly isOwn: boolean }
  /** What the main thread has sent. */
  | { readonly kind: "chunks"; readonly chunks: Buffer[]; at: number };

/** What takeFrom() uses. */
export interface SourceHost {
  readonly output: { readonly bytes: Buffer };
  readonly readFile: (file: number, offset: number, at: number, lengthBytes: number) => boolean;
}

/**
 * Moves the next bytes into the output.
 * @param at where they go
 * @returns false: they are lost
 */
export function takeFrom(source: Source | null, host: SourceHost, at: number, lengthBytes: number): boolean {
  if (source === null) return false;
  const { bytes } = host.output;
  switch (source.kind) {
    case "memory":
      source.bytes.copy(bytes, at, source.at, source.at + lengthBytes);
      source.at += lengthBytes;
      return true;
    case "file":
      if (!host.readFile(source.file, source.offset, at, lengthBytes)) return false;
      source.offset += lengthBytes;
      return true;
    case "chunks":
      return takeChunks(source, bytes, at, lengthBytes);
  }
}

function takeChunks(
  source: Extract<Source, { kind: "chunks" }>,
  target: Buffer,
  at: number,
  lengthBytes: number,
): boolean {
  let to = at;
  while (to < at + lengthBytes) {
    const chunk = source.chunks[0];
    if (chunk === undefined) return false;
    const taken = Math.min(chunk.length - source.at, at + lengthBytes - to);
    to += chunk.copy(target, to, source.at, source.at + taken);
    source.at += taken;
    if (source.at < chunk.length) continue;
    source.chunks.shift();
    source.at = 0;
  }
  return true;
}

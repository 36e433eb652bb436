/**
 * Takes the body of an upload into the store: bounded in size, in silence and in time, and refused at its first bytes
 * when they begin no picture. Nothing is kept in memory but the piece at hand.
 */
import type { Readable } from "node:stream";
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { sniffPicture, type PictureType } from "#image/picture.ts";
import type { BlobStore, IncomingBlob, ReceivedBlob } from "../store/blob-store.ts";

/** The first bytes that the type is told from. */
const headBytes = 64;

export interface ReceiveLimits {
  readonly sizeBytesMax: number;
  readonly stallMs: number;
  readonly timeoutMs: number;
}

export interface Received extends ReceivedBlob {
  readonly incoming: IncomingBlob;
  /** What the first bytes say. */
  readonly type: PictureType;
}

/**
 * The caller ends `incoming` with commit or discard; when this throws, nothing of the body remains.
 * @throws NearcastError BODY_TOO_LARGE, REQUEST_TIMEOUT, UNSUPPORTED_IMAGE, BAD_REQUEST (cut off), DISK_FAILED
 */
export async function receiveUpload(
  body: Readable,
  store: BlobStore,
  limits: ReceiveLimits,
  clock: Clock,
): Promise<Received> {
  const incoming = await store.begin();
  try {
    const type = await takeBody(body, incoming, limits, clock);
    return { ...(await incoming.finish()), incoming, type };
  } catch (error) {
    await incoming.discard();
    throw error;
  }
}

async function takeBody(
  body: Readable,
  incoming: IncomingBlob,
  limits: ReceiveLimits,
  clock: Clock,
): Promise<PictureType> {
  let head: Buffer = Buffer.alloc(0);
  let type: PictureType | undefined;
  let sizeBytes = 0;
  for await (const chunk of piecesOf(body, limits, clock)) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > limits.sizeBytesMax) throw tooLarge(limits.sizeBytesMax);
    if (type === undefined) {
      head = Buffer.concat([head, chunk.subarray(0, headBytes - head.length)]);
      type = sniffPicture(head);
      if (type === undefined && head.length >= headBytes) throw unsupported();
    }
    await incoming.write(chunk);
  }
  if (type === undefined) throw unsupported();
  return type;
}

/** The pieces as they come, with both deadlines; leaving early leaves the stream alone, so an answer can be sent. */
async function* piecesOf(body: Readable, limits: ReceiveLimits, clock: Clock): AsyncGenerator<Buffer> {
  const pieces = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer, undefined>;
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => undefined); // It may reject when nobody waits any more.
  const timedOut = (reason: string) => () => {
    late.reject(new NearcastError("REQUEST_TIMEOUT", reason));
  };
  const cancelWhole = clock.after(limits.timeoutMs, timedOut(`the upload took longer than ${limits.timeoutMs} ms`));
  let cancelStall: Cancel | undefined;
  try {
    for (;;) {
      cancelStall = clock.after(limits.stallMs, timedOut(`no byte of the upload came for ${limits.stallMs} ms`));
      const next = await Promise.race([pieces.next(), late.promise]).catch(asCutOff);
      cancelStall();
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    cancelStall?.();
    cancelWhole();
  }
}

/** The only failure of a request's body itself is that the client went away. */
function asCutOff(error: unknown): never {
  if (error instanceof NearcastError) throw error;
  throw new NearcastError("BAD_REQUEST", "the upload was cut off before its end", { cause: error });
}

export function tooLarge(sizeBytesMax: number): NearcastError {
  return new NearcastError("BODY_TOO_LARGE", `the picture has more than ${sizeBytesMax} bytes`, {
    facts: { limitBytes: sizeBytesMax },
  });
}

function unsupported(): NearcastError {
  return new NearcastError("UNSUPPORTED_IMAGE", "the bytes begin no JPEG, PNG, WebP, GIF or AVIF picture");
}

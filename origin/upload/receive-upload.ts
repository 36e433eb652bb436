/**
 * Receives the body of an upload into the store, with limits on size, silence and time; refuses it at its first bytes
 * if they are not those of a picture. Only the current chunk is kept in memory.
 */
import type { Readable } from "node:stream";
import type { Cancel, Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { PictureType } from "#base/picture-facts.ts";
import { sniffPicture } from "#image/picture.ts";
import type { BlobStore, IncomingBlob, ReceivedBlob } from "../store/blob-store.ts";

/** The first bytes, which determine the type. */
const headBytes = 64;

export interface ReceiveLimits {
  readonly sizeBytesMax: number;
  readonly stallMs: number;
  readonly timeoutMs: number;
}

export interface Received extends ReceivedBlob {
  readonly incoming: IncomingBlob;
  /** The type according to the first bytes. */
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

/**
 * The chunks as they arrive, with both deadlines. Leaving the loop early leaves the stream open and without a listener,
 * so that the rest of a refused body can be read and dropped (http/request-body.ts); Node's own iterator would keep a
 * listener.
 */
async function* piecesOf(body: Readable, limits: ReceiveLimits, clock: Clock): AsyncGenerator<Buffer> {
  const late = Promise.withResolvers<never>();
  late.promise.catch(() => undefined); // It may reject when nobody waits any more.
  const timedOut = (reason: string) => () => {
    late.reject(new NearcastError("REQUEST_TIMEOUT", reason));
  };
  let more = Promise.withResolvers<void>();
  const wake = (): void => {
    more.resolve();
  };
  const cutOff = (cause?: unknown): void => {
    if (!body.readableEnded) late.reject(cutOffError(cause));
  };
  body.on("readable", wake).on("end", wake).on("error", cutOff).on("close", cutOff);
  const cancelWhole = clock.after(limits.timeoutMs, timedOut(`the upload took longer than ${limits.timeoutMs} ms`));
  let cancelStall: Cancel | undefined;
  try {
    while (!body.readableEnded) {
      const chunk = body.read() as Buffer | null;
      if (chunk !== null) {
        yield chunk;
        continue;
      }
      if (body.readableEnded) return;
      if (body.destroyed) throw cutOffError(body.errored);
      cancelStall = clock.after(limits.stallMs, timedOut(`the upload sent nothing for ${limits.stallMs} ms`));
      await Promise.race([more.promise, late.promise]);
      cancelStall();
      more = Promise.withResolvers<void>();
    }
  } finally {
    cancelStall?.();
    cancelWhole();
    body.off("readable", wake).off("end", wake).off("error", cutOff).off("close", cutOff);
  }
}

/** The only failure of a request's body itself is that the client disconnected. */
function cutOffError(cause: unknown): NearcastError {
  return new NearcastError("BAD_REQUEST", "the upload ended early", { cause });
}

export function tooLarge(sizeBytesMax: number): NearcastError {
  return new NearcastError("BODY_TOO_LARGE", `the picture must not be larger than ${sizeBytesMax} bytes`, {
    facts: { limitBytes: sizeBytesMax },
  });
}

function unsupported(): NearcastError {
  return new NearcastError("UNSUPPORTED_IMAGE", "the file must be a JPEG, PNG, WebP, GIF or AVIF picture");
}

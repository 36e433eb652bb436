/**
 * What a client pays for: frames that serve no request, and streams that end because of what it did
 * (node/http2/floods.ts has the reasons). Beyond its allowance, the connection ends.
 */
import { spend } from "../../http2/allowance.ts";
import type { Connection, Host, Stream } from "./connection.ts";
import { errorCode, frameHeadBytes } from "./frame.ts";
import { fail, resetStream } from "./sending.ts";

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  /** The payload is there from `start` to `end`. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
}

/** Frames that serve no request. @returns whether the connection goes on */
export function payFor(connection: Connection, host: Host, { start, end }: Frame): boolean {
  if (spend(connection.frames, frameHeadBytes + end - start, host.nowMs())) return true;
  host.flooded("frames");
  fail(connection, host, errorCode.enhanceYourCalm);
  return false;
}

/** A stream was reset by its client, or because of what it sent. @returns whether the connection goes on */
export function payForReset(connection: Connection, host: Host): boolean {
  const isCheap = spend(connection.resets, 1, host.nowMs());
  if (host.mayReset(connection) && isCheap) return true;
  if (connection.phase === "failed") return false;
  host.flooded("resets");
  fail(connection, host, errorCode.enhanceYourCalm);
  return false;
}

/** A stream error because of what the client sent. */
export function punish(connection: Connection, host: Host, stream: Stream, code: number): void {
  if (stream.isClosed) return;
  resetStream(connection, host, stream, code);
  payForReset(connection, host);
}

/** The client's side of a stream has ended. */
export function endRequest(connection: Connection, host: Host, stream: Stream): void {
  stream.isRemoteClosed = true;
  const { announcedBytes, receivedBytes } = stream;
  if (announcedBytes !== -1 && receivedBytes !== announcedBytes) malformed(connection, host, stream);
}

/** §8.1.1 */
export function malformed(connection: Connection, host: Host, stream: Stream): void {
  host.malformed();
  punish(connection, host, stream, errorCode.protocol);
}

/**
 * One case: what a client sends, and what a server does then. Cases know nothing of the implementation: `/hit` is
 * answered with 200 at once, `/held` never, and `/large/N` with N bytes.
 */
import { code, flag, get, headers, ping, post, type Raw, reset, type } from "./frames.ts";

/**
 * `goaway`: the connection ends, with one of these codes. `reset`: the stream ends with one of these codes, and the
 * connection stays. `response`: the stream gets a response, and the connection stays. `alive`: nothing happens. A
 * function looks for itself, and returns what is wrong.
 */
export type Expected =
  | { readonly goaway: readonly number[] }
  | { readonly reset: readonly number[]; readonly stream?: number }
  | { readonly response: number }
  | "alive"
  | ((raw: Raw) => Promise<string | undefined>);

export interface Case {
  /** Section and claim; unique. */
  readonly claim: string;
  readonly send: (raw: Raw) => void | Promise<void>;
  readonly expected: Expected;
  /** The client's settings. */
  readonly own?: readonly (readonly [id: number, value: number])[];
  /** Nothing was sent before: no preface, no settings. */
  readonly isRaw?: true;
}

export const none = Buffer.alloc(0);
export const get1 = headers(1, get());
/** A stream that stays open, because its request has not ended. */
export const open1 = headers(1, post(), 0);
/** A stream whose response does not come. */
export const held1 = headers(1, get("/held"));

export const seen = (raw: Raw, wanted: number, stream: number): ReturnType<Raw["next"]> =>
  raw.next((one) => one.type === wanted && one.stream === stream);
/** Sends a request and waits for the end of its response. */
export async function complete(raw: Raw, stream = 1): Promise<void> {
  raw.send(headers(stream, get()));
  await raw.next((one) => one.stream === stream && (one.flags & flag.endStream) !== 0);
}
/** Sends a request, resets it, and waits until the server has seen that. */
export async function abandon(raw: Raw): Promise<void> {
  raw.send(open1, reset(1), ping("reset..."));
  await seen(raw, type.ping, 0);
}
export const padded = (bytes: Buffer, padding: number): Buffer =>
  Buffer.concat([Buffer.from([padding]), bytes, Buffer.alloc(padding)]);
export const raw = (claim: string, send: Case["send"], expected: Expected): Case => ({
  claim,
  send,
  expected,
  isRaw: true,
});
export const one = (claim: string, sent: readonly Buffer[], expected: Expected, own: Case["own"] = []): Case => ({
  claim,
  send: (to) => {
    to.send(...sent);
  },
  expected,
  own,
});
export const after = (claim: string, send: Case["send"], expected: Expected, own: Case["own"] = []): Case => ({
  claim,
  send,
  expected,
  own,
});
export const goaway = (...codes: number[]): Expected => ({ goaway: codes });
export const resets = (...codes: number[]): Expected => ({ reset: codes });
export const ok: Expected = { response: 1 };
export const { protocol, flowControl, streamClosed, frameSize, compression, refused } = code;

export const isPong = (frameOf: { type: number; flags: number }): boolean =>
  frameOf.type === type.ping && frameOf.flags === flag.ack;

export async function firstDataIs(to: Raw, stream: number, length: number): Promise<string | undefined> {
  const first = await seen(to, type.data, stream);
  return first?.payload.length === length ? undefined : `${first?.payload.length} bytes`;
}

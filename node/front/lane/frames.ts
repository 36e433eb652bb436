/**
 * What lane and main thread send each other over a pair of local sockets. A pair carries one client's connection at a
 * time: a session.
 *
 *   lane ──▶ main   begin, data …, end        the client's bytes, and the end of its sending side
 *                   late                      the head that was sent is incomplete, and its time is over
 *                   gone | leave              the client was reset | the lane takes the connection back
 *   main ──▶ lane   taken                     one turn of the event loop after "begin": another session may begin
 *                   data …, end               the response's bytes; the connection's sending side closes
 *                   busy                      value 1: a response is in progress, or 0: a request has only begun
 *                   idle                      all requests are answered in the first `value` bytes of the client
 *                   closed                    the last frame of every session
 *
 * For the lane, a session is over when it has read "closed"; then the pair is free. If the lane has not sent "gone" or
 * "leave" before, "closed" closes the client's connection. Until the next "begin", the main thread ignores all frames.
 *
 * A session is busy until "busy" says otherwise.
 *
 * After "idle", the lane may answer requests itself, or take the connection back, if it has sent no more than those
 * bytes. Otherwise another "idle" will follow.
 *
 * A frame begins with two numbers of 32 bits in host byte order: kind and value. The value is the number of bytes that
 * follow, except in "idle" and "busy".
 */

export const frameHeadBytes = 8;

export const toMain = { begin: 1, data: 2, end: 3, late: 4, gone: 5, leave: 6 } as const;
export const toLane = { data: 1, end: 2, idle: 3, closed: 4, taken: 5, busy: 6 } as const;

/** A longer "begin" is impossible: two numbers, an address and a word. */
export const beginBytesMax = 128;

/** Who a session is for. */
export interface Beginning {
  /** The listener that accepted the connection. */
  readonly listener: number;
  readonly address: string;
  readonly port: number;
  /** Of the request: HTTP/2 ends in the lane. */
  readonly protocol: ClientProtocol;
}

export type ClientProtocol = "http" | "https";

export function textOfBeginning({ listener, address, port, protocol }: Beginning): string {
  return `${listener} ${port} ${address} ${protocol}`;
}

export function readBeginning(text: string): Beginning {
  const [listener = "", port = "", address = "", protocol = ""] = text.split(" ");
  return { listener: Number(listener), address, port: Number(port), protocol: protocol as ClientProtocol };
}

/** The head of a frame; `value` is reduced to 32 bits. */
export function frameHead(kind: number, value: number): Buffer {
  const head = Buffer.allocUnsafe(frameHeadBytes);
  head.writeUInt32LE(kind, 0);
  head.writeUInt32LE(value % 2 ** 32, 4);
  return head;
}

/**
 * Sends a smuggling case over a connection of its own, and two sentinels behind it: one for what is stored, which a
 * lane or a front may answer itself, and one for what only the origin has. Tells what the client got.
 */
import type { ConnectionOptions } from "node:tls";
import { headers, preface, settings, settingsAck, type } from "../http2/frames.ts";
import { openLine, readAnswers } from "../../node/http/raw.ts";
import { request } from "./smuggling-case.ts";
import { list } from "./smuggling-http2.ts";

export interface Edge {
  readonly address: string;
  readonly port: number;
  readonly tls?: ConnectionOptions | undefined;
}

export interface Got {
  /** The targets that the origin's responses name, in the order of the responses or of the streams. */
  readonly targets: readonly string[];
  /** Statuses of all other responses; for streams, how they ended without one. */
  readonly others: readonly string[];
}

const sentinel = (run: string): string => `/${run}/sentinel`;

const hit = request("GET /hit HTTP/1.1");

/**
 * @param pieceBytes how much is sent in a turn of the event loop
 * @param isBehindHit whether a request for what is stored comes first, and its response is left out
 */
export async function runOverHttp1(
  edge: Edge,
  run: string,
  text: string,
  { pieceBytes = text.length, isBehindHit = false }: { pieceBytes?: number; isBehindHit?: boolean } = {},
): Promise<Got> {
  const line = await openLine(edge, edge.tls);
  line.socket.setNoDelay(true);
  const bytes = Buffer.from(isBehindHit ? hit + text : text, "latin1");
  for (let start = 0; start < bytes.length && line.socket.writable; start += pieceBytes) {
    if (start > 0) await new Promise(setImmediate);
    line.send(bytes.subarray(start, start + pieceBytes));
  }
  const last = request(`GET ${sentinel(run)} HTTP/1.1`, "Connection: close");
  if (line.socket.writable) line.send(hit + last);
  const all = await line.rest();
  const received = isBehindHit ? behindHit(all) : all;
  // Node's parser does not tell the method of what it can't read: the 400 has a body, and ends the connection.
  const isHead = text.startsWith("HEAD") && !received.startsWith("HTTP/1.1 400");
  const answers = readAnswers(received, { isHead: [isHead] });
  const isServed = (status: number): boolean => status === 200;
  return {
    targets: answers.filter(({ status }) => isServed(status)).map(({ body }) => body.toString("latin1")),
    others: answers.filter(({ status }) => !isServed(status)).map(({ status }) => String(status)),
  };
}

function behindHit(received: string): string {
  const end = "\r\n\r\n/hit";
  const at = received.indexOf(end);
  if (at === -1) throw new Error(`no response to the request before: ${JSON.stringify(received)}`);
  return received.slice(at + end.length);
}

/** The same over HTTP/2: the case is on stream 1, the sentinels are on streams 3 and 5. */
export async function runOverHttp2(
  edge: Edge,
  run: string,
  text: string,
  { pieceBytes = 65_536 }: { pieceBytes?: number } = {},
): Promise<Got> {
  const line = await openLine(edge, edge.tls);
  line.socket.setNoDelay(true);
  const bytes = Buffer.concat([
    Buffer.from(preface),
    settings(),
    settingsAck,
    Buffer.from(text, "latin1"),
    headers(3, list("/hit")),
    headers(5, list(sentinel(run))),
  ]);
  for (let start = 0; start < bytes.length && line.socket.writable; start += pieceBytes) {
    if (start > 0) await new Promise(setImmediate);
    line.send(bytes.subarray(start, start + pieceBytes));
  }
  const isDone = (received: string): boolean => [1, 3, 5].every((stream) => streamIn(received, stream).isEnded);
  const received = await line.until(isDone).catch(() => undefined);
  line.socket.destroy();
  const all = received ?? (await line.rest());
  const streams = [1, 3, 5].map((stream) => streamIn(all, stream));
  return {
    targets: streams.flatMap(({ body }) => (body.startsWith("/") ? [body] : [])),
    others: streams.flatMap(({ body, isReset, isEnded }) => {
      if (body.startsWith("/")) return [];
      const status = /"status":(\d{3})/.exec(body)?.[1];
      return [status ?? (isReset ? "reset" : isEnded ? "no body" : "closed")];
    }),
  };
}

/** What came on a stream. */
function streamIn(text: string, stream: number): { body: string; isReset: boolean; isEnded: boolean } {
  const bytes = Buffer.from(text, "latin1");
  let body = "";
  let isReset = false;
  let isEnded = false;
  for (let at = 0; at + 9 <= bytes.length;) {
    const end = at + 9 + bytes.readUIntBE(at, 3);
    if (end > bytes.length) break;
    if (bytes.readUInt32BE(at + 5) === stream) {
      const kind = bytes[at + 3] ?? 0;
      if (kind === type.data) body += bytes.toString("latin1", at + 9, end);
      // Behind a response, it only says that the rest of the request is not wanted (RFC 9113 §8.1).
      isReset ||= kind === type.reset && !isEnded;
      isEnded ||= isReset || ((kind === type.data || kind === type.headers) && ((bytes[at + 4] ?? 0) & 1) === 1);
    }
    at = end;
  }
  return { body, isReset, isEnded };
}

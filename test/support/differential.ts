/** What tests that send the same requests to two servers have in common. */
import type { ConnectionOptions } from "node:tls";
import type { Random } from "#base/random.ts";
import { comparable, type Request } from "../conformance/http/corpus.ts";
import { type Answer, openLine, readAnswers } from "../node/http/raw.ts";
import { openChopped } from "./chopped-socket.ts";

/** Follows each group: if it is answered, the connection was open. */
const probe = "GET / HTTP/1.1\r\nHost: unknown.test\r\nConnection: close\r\n\r\n";

/** A head up to this length is sometimes sent byte by byte. */
const singleBytesMax = 600;

/** Pieces of the bytes: one, a few that are cut at random, or each byte alone. */
export function randomPieces(bytes: Buffer, random: Random): Buffer[] {
  if (bytes.length <= singleBytesMax && random() < 0.06) {
    return Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
  }
  const count = random() < 0.5 ? 0 : Math.floor(random() * 5);
  const cuts = Array.from({ length: count }, () => Math.floor(random() * bytes.length)).toSorted((a, b) => a - b);
  return [0, ...cuts].map((start, index) => bytes.subarray(start, cuts[index] ?? bytes.length));
}

export interface Heard {
  readonly answers: readonly Answer[];
  /** Whether the connection took another request after the group. */
  readonly isOpen: boolean;
}

/**
 * The responses to a group of requests on one connection, and what became of the connection.
 * @param pieces the bytes of all requests; each piece is sent in a turn of its own, and over TLS in a record of its own
 * @param options.tls over TLS, with these options
 * @param options.segmentBytes how many bytes of TLS leave at once; by default, all
 */
export async function ask(
  server: { readonly address: string; readonly port: number },
  pieces: readonly Buffer[],
  group: readonly Request[],
  options: { tls?: ConnectionOptions | undefined; segmentBytes?: number | undefined } = {},
): Promise<Heard> {
  const { tls, segmentBytes } = options;
  const socket = segmentBytes === undefined ? {} : { socket: openChopped(server, segmentBytes) };
  const line = await openLine(server, tls === undefined ? undefined : { ...tls, ...socket });
  if (segmentBytes === undefined) line.socket.setNoDelay(true);
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await new Promise((resolve) => setImmediate(resolve));
    if (line.socket.writable) line.send(piece);
  }
  const isHead = group.map(({ method }) => method === "HEAD");
  // Not sooner: a server that closes with bytes unread resets the connection, and the end of a response may be lost.
  await line.until((text) => areWhole(text, isHead)).catch(() => undefined);
  if (line.socket.writable) line.send(probe);
  const whole = await line.rest();
  let answers;
  try {
    answers = readAnswers(whole, { isHead });
  } catch (error) {
    const text = Buffer.concat(pieces).toString("latin1");
    throw new Error(`${(error as Error).message}: ${pieces.length} pieces of ${JSON.stringify(text)}`, {
      cause: error,
    });
  }
  const isOpen = answers.length > group.length;
  return { answers: answers.slice(0, group.length), isOpen };
}

/** Whether all these responses have arrived. A body of these tests has no text that looks like a status line. */
function areWhole(text: string, isHead: readonly boolean[]): boolean {
  if ((text.match(/HTTP\/1\.1 [2-5]/g)?.length ?? 0) < isHead.length) return false;
  try {
    return readAnswers(text, { isHead }).length >= isHead.length;
  } catch {
    return false;
  }
}

/** The response of an edge in the system's time: two edges fetched their objects at slightly different times. */
export function timeless(answer: Answer): unknown {
  const fields = new Map(
    [...answer.fields].map(([name, values]): [string, readonly string[]] => {
      return [name, name === "cache-status" ? values.map((value) => value.replaceAll(/ttl=\d+/g, "ttl=N")) : values];
    }),
  );
  fields.delete("age");
  // A random number of the request.
  if (fields.has("x-request-id")) fields.set("x-request-id", []);
  return comparable({ ...answer, fields });
}

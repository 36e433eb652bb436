/** What tests that send the same requests to two servers have in common. */
import type { ConnectionOptions } from "node:tls";
import type { Random } from "#base/random.ts";
import type { Request } from "../conformance/http/corpus.ts";
import { type Answer, openLine, readAnswers } from "../node/http/raw.ts";

/** Ends a group: the front does not answer requests that close their connection. */
export const last: Request = {
  method: "GET",
  target: "/",
  host: "unknown.test",
  lines: ["Host: unknown.test", "Connection: close"],
};

/** Pieces of the bytes, cut at random. */
export function randomPieces(bytes: Buffer, random: Random): Buffer[] {
  const count = random() < 0.5 ? 0 : Math.floor(random() * 5);
  const cuts = Array.from({ length: count }, () => Math.floor(random() * bytes.length)).toSorted((a, b) => a - b);
  return [0, ...cuts].map((start, index) => bytes.subarray(start, cuts[index] ?? bytes.length));
}

/**
 * The responses to a group of requests on one connection.
 * @param pieces the bytes of all requests; each piece is sent in a turn of its own
 * @param tls over TLS, with these options
 */
export async function ask(
  server: { readonly address: string; readonly port: number },
  pieces: readonly Buffer[],
  group: readonly Request[],
  tls?: ConnectionOptions,
): Promise<Answer[]> {
  const line = await openLine(server, tls);
  line.socket.setNoDelay(true);
  for (const [index, piece] of pieces.entries()) {
    if (index > 0) await new Promise((resolve) => setImmediate(resolve));
    line.send(piece);
  }
  return readAnswers(await line.rest(), { isHead: group.map(({ method }) => method === "HEAD") });
}

/** The parts that every write reads from its request: the author, and the precondition. */
import { NearcastError } from "#base/errors.ts";
import type { FastifyRequest } from "fastify";
import type { Actor } from "../catalogue/audit-entry.ts";
import type { Change } from "../catalogue/catalogue.ts";
import { parsePrecondition } from "../precondition.ts";

/** UTF-16 units; lists show it with each version. */
const authorLengthMax = 100;

/**
 * `Nearcast-Author` says which person or program uses the writer token; percent-encoded UTF-8, for names beyond ASCII.
 * It proves nothing: everyone who has the token can use any name.
 * @param nameless the author if none is given
 * @throws NearcastError BAD_PARAMETER
 */
function authorOf(request: FastifyRequest, nameless: string): string {
  const header = request.headers["nearcast-author"];
  if (header === undefined || header === "") return nameless;
  let author: string | undefined;
  try {
    author = decodeURIComponent(String(header));
  } catch {
    author = undefined;
  }
  if (author === undefined || !/^\P{C}+$/u.test(author) || author.length > authorLengthMax) {
    throw new NearcastError(
      "BAD_PARAMETER",
      `Nearcast-Author must be 1-${authorLengthMax} printable characters, percent-encoded if not ASCII`,
    );
  }
  return author;
}

/**
 * The requester. The address is that of the connection's other end; X-Forwarded-For counts only when it comes from one
 * of `listen.trustedProxies`.
 * @throws NearcastError BAD_PARAMETER
 */
export function actorOf(request: FastifyRequest): Actor {
  const token = request.token;
  if (token === null) throw new NearcastError("INTERNAL", "a route that changes something must require a token");
  return { token, author: authorOf(request, token.kind), address: addressOf(request) };
}

/** The client's address. A socket that listens on `::` reports an IPv4 client as `::ffff:192.0.2.1`. */
export function addressOf(request: FastifyRequest): string {
  const address = request.ip;
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice("::ffff:".length) : address;
}

/** @throws NearcastError BAD_PARAMETER */
export function changeOf(request: FastifyRequest): Change {
  const parsed = parsePrecondition(request.headers["if-match"], request.headers["if-none-match"]);
  if (!parsed.ok) throw new NearcastError("BAD_PARAMETER", parsed.reason);
  return { actor: actorOf(request), precondition: parsed.precondition };
}

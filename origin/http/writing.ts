/** What every write reads from its headers: who writes, and under which precondition. */
import { NearcastError } from "#base/errors.ts";
import type { FastifyRequest } from "fastify";
import type { Change } from "../catalogue/catalogue.ts";
import { parsePrecondition } from "../precondition.ts";

/** UTF-16 units; shown in lists beside each version. */
const authorLengthMax = 100;

/** Said of those who give no name. */
const nameless = "writer";

/**
 * `Nearcast-Author` says which person or program holds the writer's token; percent-encoded UTF-8, for names beyond
 * ASCII. It proves nothing: all who have the token are trusted with each other's names.
 * @throws NearcastError BAD_PARAMETER
 */
export function authorOf(request: FastifyRequest): string {
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
      `Nearcast-Author must be 1 to ${authorLengthMax} printable characters, percent-encoded when not ASCII`,
    );
  }
  return author;
}

/** @throws NearcastError BAD_PARAMETER */
export function changeOf(request: FastifyRequest): Change {
  const parsed = parsePrecondition(request.headers["if-match"], request.headers["if-none-match"]);
  if (!parsed.ok) throw new NearcastError("BAD_PARAMETER", parsed.reason);
  return { author: authorOf(request), precondition: parsed.precondition };
}

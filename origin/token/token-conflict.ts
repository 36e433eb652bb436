/**
 * One token must not be of two kinds. Every edge holds the edge token, so a `writer.token` with the same text would
 * make each edge a writer. This happens when somebody copies one token file over the other. Pure.
 */
import { NearcastError } from "#base/errors.ts";
import type { TokenKind } from "./token-kind.ts";

/** A token that one kind already has: in its file, or in the catalogue, which stores digests only. */
interface TakenToken {
  readonly kind: TokenKind;
  readonly digest: string;
}

/**
 * @param file the file from which the token was read
 * @param taken the tokens of both kinds
 * @param code INTERNAL when the origin reads a file, CONFLICT when a writer sent a request
 * @throws NearcastError when the other kind has this token; the message does not reveal the token
 */
export function mustNotBeOfOtherKind(
  { kind, digest, file }: TakenToken & { readonly file: string },
  taken: readonly TakenToken[],
  code: "INTERNAL" | "CONFLICT" = "INTERNAL",
): void {
  const other = taken.find((one) => one.kind !== kind && one.digest === digest);
  if (other === undefined) return;
  const danger =
    kind === "writer" ? "every edge could change everything" : "edges would get the token that can change everything";
  throw new NearcastError(
    code,
    `${file} must hold the ${kind} token, but it holds the ${other.kind} token: ${danger}. ` +
      `Restore the ${kind} token from a backup, or delete ${file}, and the origin makes a new one`,
  );
}

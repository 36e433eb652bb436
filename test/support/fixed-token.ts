/** A token for clients of origins that ask for none, or that refuse it for good. */
import type { TokenSource } from "../../node/fetch/token-file.ts";

export function fixedToken(token: string): TokenSource {
  return { current: () => token, refused: async () => false };
}

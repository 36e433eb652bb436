/** The two kinds of bearer token that an origin knows, and how one token is named without being told. */

export const tokenKinds = ["writer", "edge"] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** Names a token without telling anything of it. */
export interface TokenName {
  readonly kind: TokenKind;
  /** See tokenId(). */
  readonly id: string;
}

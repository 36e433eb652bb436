/** The two kinds of bearer token that an origin knows, and how a token is identified without revealing it. */

export const tokenKinds = ["writer", "edge"] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** Identifies a token without revealing it. */
export interface TokenName {
  readonly kind: TokenKind;
  /** See tokenId(). */
  readonly id: string;
}

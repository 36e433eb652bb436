/**
 * The edge token, by which the origin knows its edges. While it is being rotated the origin accepts the older one, too,
 * and may hand the new one out to who presents the older one, so that nobody has to carry it to each machine.
 *
 *   nearcast token rotate edge     origin: A current        edges use A
 *                        ──────▶   B current, A older       an edge hears it by the feed, asks with A, keeps B
 *   the overlap is over  ──────▶   B current                A is refused
 */
import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";

/** The event of the feed that says that the edges' token is another one. */
export const tokenEventKind = "token";

/** 256 random bits as base64url, which needs no escaping anywhere. */
export const tokenPattern = "^[A-Za-z0-9_-]{43}$";

/** 8 hexadecimal digits that name a token without telling anything of it, for people, logs and the audit. */
export function tokenId(token: string): string {
  return createHash("sha256").update("nearcast token\0").update(token).digest("hex").slice(0, 8);
}

/** What the origin answers an edge that asks which token it should use. */
export const edgeTokenSchema = Type.Object({
  id: Type.String({ pattern: "^[0-9a-f]{8}$", description: "names the current token" }),
  token: Type.Optional(
    Type.String({ pattern: tokenPattern, description: "the current token itself, when an older one was presented" }),
  ),
  olderUntil: Type.Optional(
    Type.String({ maxLength: 40, description: "ISO 8601: until when the presented, older one is accepted" }),
  ),
});
export type EdgeTokenAnswer = Static<typeof edgeTokenSchema>;

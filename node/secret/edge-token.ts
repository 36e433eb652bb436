/**
 * The edge token, by which the origin recognizes its edges. During a rotation the origin also accepts the older token,
 * and may give the new one to edges that present the older one, so that nobody has to copy it to each machine.
 *
 *   nearcast token rotate edge     origin: A current        edges use A
 *                        ──────▶   B current, A older       an edge learns it from the feed, asks with A, stores B
 *   the overlap is over  ──────▶   B current                A is refused
 */
import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";

/** The event of the feed that announces a new edge token. */
export const tokenEventKind = "token";

/** 256 random bits as base64url, which needs no escaping anywhere. */
export const tokenPattern = "^[A-Za-z0-9_-]{43}$";

/** 8 hexadecimal digits that identify a token without revealing it, for people, logs and the audit log. */
export function tokenId(token: string): string {
  return createHash("sha256").update("nearcast token\0").update(token).digest("hex").slice(0, 8);
}

/** The origin's answer to an edge that asks which token to use. */
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

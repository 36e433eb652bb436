/**
 * The fleet secret: 32 random octets that all nodes of a fleet share and nobody else knows. The origin makes it; edges
 * fetch it with their token and store it on disk. Everything that needs a key derives its own from the secret, so that
 * no key can be computed from another (DNS cookies do).
 *
 *   rotate        the origin                  an edge
 *                 current A                   uses A, accepts A
 *   ──────▶       current B, previous A       uses B, accepts B and A      within a second, by the feed
 *   ──────▶       current C, previous B       uses C, accepts C and B      A is no longer accepted
 *
 * On the wire and on disk it is base64url. It is never logged; its `id` may be.
 */
import { createHash } from "node:crypto";
import { type Static, Type } from "typebox";

/** Octets of a secret. */
export const fleetSecretBytes = 32;

/** The event of the feed that announces a new secret. */
export const secretEventKind = "secret";

const encoded = (description: string) =>
  Type.String({ pattern: "^[A-Za-z0-9_-]{43}$", description: `${description}: 32 octets, base64url` });

/** The origin's answer, and the content of the file on both sides. */
export const fleetSecretsSchema = Type.Object({
  current: encoded("the secret to make things with"),
  previous: Type.Optional(encoded("the one before, still accepted")),
});
export type FleetSecrets = Static<typeof fleetSecretsSchema>;

/** Current first, as octets. */
export function secretsInOrder({ current, previous }: FleetSecrets): readonly Uint8Array[] {
  return [current, ...(previous === undefined ? [] : [previous])].map((text) => Buffer.from(text, "base64url"));
}

/** 16 hexadecimal digits that identify a secret without revealing it, for people and logs. */
export function secretId(secret: string): string {
  return createHash("sha256").update("nearcast fleet secret\0").update(secret).digest("hex").slice(0, 16);
}

/**
 * Keys derived from the fleet secrets by HKDF (RFC 5869), one per purpose, so that a signature for one purpose proves
 * nothing for another. They are derived again only when the secrets change.
 */
import { createSecretKey, hkdfSync, type KeyObject, timingSafeEqual } from "node:crypto";

const keyBytes = 32;
/** The current secret and the previous one. */
const secretsMax = 2;

/**
 * Returns a function that returns the current keys, that of the current secret first; none while no secret is known.
 * @param secrets octets of the fleet secrets, the current one first; called each time, since they rotate
 * @param purpose HKDF's `info`
 */
export function derivedKeys(secrets: () => readonly Uint8Array[], purpose: string): () => readonly KeyObject[] {
  let derivedFrom: readonly Uint8Array[] = [];
  let derived: readonly KeyObject[] = [];
  return () => {
    const now = secrets().slice(0, secretsMax);
    const isSame = now.length === derivedFrom.length && now.every((one, at) => isEqual(one, derivedFrom[at]));
    if (!isSame) {
      derivedFrom = now;
      derived = now.map((secret) => createSecretKey(Buffer.from(hkdfSync("sha256", secret, "", purpose, keyBytes))));
    }
    return derived;
  };
}

/** In constant time for equal lengths. */
export function isEqual(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return other !== undefined && one.length === other.length && timingSafeEqual(one, other);
}

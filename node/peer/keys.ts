/**
 * The keys of the peer channel, from the fleet secret (node/secret/fleet-secret.ts).
 *
 *   fleet secret ──HKDF-SHA256 (RFC 5869)──┬─ "… psk"       the pre-shared key, 32 octets
 *                                          └─ "… identity"  its name on the wire: reveals nothing about the secret
 *
 * TLS 1.2 with ECDHE-PSK-CHACHA20-POLY1305 and no other suite (RFC 5489, RFC 7905): both sides prove that they know the
 * key, there are no certificates to make, renew or check, and the ephemeral Diffie-Hellman exchange keeps earlier
 * traffic secret from anyone who learns the key later. The record layer is the same as with certificates.
 */
import { hkdfSync } from "node:crypto";
import type { SecureVersion } from "node:tls";

/** Both sides offer this and nothing else, so nothing weaker can be negotiated. */
export const channelTls: { ciphers: string; minVersion: SecureVersion; maxVersion: SecureVersion } = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
};

export interface ChannelKey {
  /** Sent in the clear; RFC 4279 §5.3 requires support for 128 octets. */
  readonly identity: string;
  readonly psk: Buffer;
}

const keyBytes = 32;
const identityBytes = 8;

function keyOf(secret: Uint8Array): ChannelKey {
  const derive = (purpose: string, bytes: number): Buffer =>
    Buffer.from(hkdfSync("sha256", secret, "", `nearcast peer channel ${purpose}`, bytes));
  return { identity: derive("identity", identityBytes).toString("hex"), psk: derive("psk", keyBytes) };
}

/**
 * The keys of these secrets, in the same order; derived again only when the secrets change.
 * @param secrets the current one first; none before the first is known
 */
export function channelKeys(secrets: () => readonly Uint8Array[]): () => readonly ChannelKey[] {
  let derivedFrom: readonly Buffer[] = [];
  let keys: readonly ChannelKey[] = [];
  return () => {
    const now = secrets();
    if (now.length !== derivedFrom.length || !now.every((secret, at) => derivedFrom[at]?.equals(secret))) {
      derivedFrom = now.map((secret) => Buffer.from(secret));
      keys = now.map(keyOf);
    }
    return keys;
  };
}

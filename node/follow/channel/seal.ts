/**
 * The proof that each message of the channel carries: HMAC-SHA256 (RFC 2104) with a key of its own, derived from the
 * fleet secret.
 *
 *   MAC = HMAC(key, purpose NUL channel NUL body)
 *
 * `channel` is the nonce that the origin generates for one connection to its feed and sends in its hello. So a message
 * is valid for one connection and one purpose only: it can't be replayed on another connection, or used as another
 * message.
 *
 * All nodes of a fleet share one secret. A proof therefore says that the sender is some node of this fleet (or its
 * origin), not which one: a compromised node can impersonate others until the secret is rotated.
 */
import { createHmac, type KeyObject } from "node:crypto";
import { derivedKeys, isEqual } from "#secret/derived-keys.ts";

/** Header fields of an edge's messages, in lower case as in Node. */
export const channelField = "nearcast-channel";
export const sealField = "nearcast-seal";

/** The kind of a message; it is part of the signed data. */
export type Purpose = "introduction" | "presence" | "question" | "answer" | "purge-report";

const sealPattern = /^[A-Za-z0-9_-]{43}$/;

export interface Seals {
  /** The proof, base64url; undefined while no fleet secret is known. */
  seal: (purpose: Purpose, channel: string, body: string | Uint8Array) => string | undefined;
  /** Whether `seal` was made with the current fleet secret or the one before. */
  isSealed: (purpose: Purpose, channel: string, body: string | Uint8Array, seal: unknown) => boolean;
}

/** @param secrets octets of the fleet secrets, the current one first; called each time, because they rotate */
export function createSeals(secrets: () => readonly Uint8Array[]): Seals {
  const keys = derivedKeys(secrets, "nearcast origin channel");
  return {
    seal(purpose, channel, body) {
      const [current] = keys();
      return current === undefined ? undefined : macOf(current, purpose, channel, body).toString("base64url");
    },
    isSealed(purpose, channel, body, seal) {
      if (typeof seal !== "string" || !sealPattern.test(seal)) return false;
      const said = Buffer.from(seal, "base64url");
      return keys().some((key) => isEqual(said, macOf(key, purpose, channel, body)));
    },
  };
}

function macOf(key: KeyObject, purpose: Purpose, channel: string, body: string | Uint8Array): Buffer {
  return createHmac("sha256", key).update(`${purpose}\0${channel}\0`).update(body).digest();
}

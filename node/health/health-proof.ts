/**
 * Decides which health answers count, and which probes get one: both sides must know the fleet secret. Answers cross
 * the internet unencrypted, so a host on the path can read them, but can neither change nor forge them.
 *
 *   asker   Nearcast-Probe: nonce.MAC(ask, nonce)[.MAC with the secret before]      ─▶
 *                                              ◀─   Nearcast-Proof: MAC(answer, nonce, status, body)       answerer
 *
 * MAC is HMAC-SHA256 (RFC 2104) with a key of its own, derived from the fleet secret by HKDF (RFC 5869). While the
 * secret rotates, askers prove the new one and the one before, and the answerer uses the first that it knows: no probe
 * falls into the gap.
 *
 * A proof holds for one probe, because of the nonce, and for one node, because the body that it covers names the node
 * that answers (health-answer.ts). The asker compares that name with the node that it meant, so the proof of a node
 * does not pass for another node's, whoever relays it (node/fetch/http-probe.ts).
 */
import { createHmac, type KeyObject, randomBytes } from "node:crypto";
import { derivedKeys, isEqual } from "#secret/derived-keys.ts";

/** Header fields, in lower case as in Node. */
export const askField = "nearcast-probe";
export const proofField = "nearcast-proof";

const nonceBytes = 16;
const askPattern = /^([A-Za-z0-9_-]{22})\.([A-Za-z0-9_-]{43})(?:\.([A-Za-z0-9_-]{43}))?$/;

const proofPattern = /^[A-Za-z0-9_-]{43}$/;

/** One question. */
export interface Ask {
  readonly nonce: string;
  /** The value of `askField`. */
  readonly field: string;
}

export interface Proofs {
  /** Undefined while no secret is known, because then nothing can be proved. */
  ask: () => Ask | undefined;
  /**
   * Returns the function that signs the answer to a probe, if the prober knows the secret; undefined if it does not, or
   * sends no proof.
   * @param field the value of `askField`, as received
   */
  signerFor: (field: unknown) => ((status: number, body: string) => string) | undefined;
  /** Whether this answer to `ask` is from someone who knows the secret. */
  isProven: (ask: Ask, status: number, body: string | Uint8Array, proof: string) => boolean;
}

/** @param secrets octets of the fleet secrets, the current one first; called each time, because they rotate */
export function createProofs(secrets: () => readonly Uint8Array[]): Proofs {
  const keys = derivedKeys(secrets, "nearcast health probe");

  return {
    ask() {
      const known = keys();
      if (known.length === 0) return undefined;
      const nonce = randomBytes(nonceBytes).toString("base64url");
      return { nonce, field: [nonce, ...known.map((key) => askMac(key, nonce).toString("base64url"))].join(".") };
    },
    signerFor(field) {
      const [, nonce, ...said] = (typeof field === "string" ? askPattern.exec(field) : null) ?? [];
      if (nonce === undefined) return undefined;
      const macs = said.filter((text) => text !== undefined).map((text) => Buffer.from(text, "base64url"));
      const key = keys().find((one) => {
        const wanted = askMac(one, nonce);
        return macs.some((mac) => isEqual(mac, wanted));
      });
      if (key === undefined) return undefined;
      return (status, body) => answerMac(key, nonce, status, body).toString("base64url");
    },
    isProven({ nonce }, status, body, proof) {
      if (!proofPattern.test(proof)) return false;
      const said = Buffer.from(proof, "base64url");
      return keys().some((key) => isEqual(said, answerMac(key, nonce, status, body)));
    },
  };
}

function askMac(key: KeyObject, nonce: string): Buffer {
  return createHmac("sha256", key).update(`ask\0${nonce}`).digest();
}

function answerMac(key: KeyObject, nonce: string, status: number, body: string | Uint8Array): Buffer {
  return createHmac("sha256", key).update(`answer\0${nonce}\0${status}\0`).update(body).digest();
}

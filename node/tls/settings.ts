/**
 * The TLS settings of the listener for clients: versions 1.2 and 1.3, suites with forward secrecy and AEAD (RFC 9325
 * §4.2), no renegotiation, no compression, no early data. Pure; used for every TLS context.
 */
import { constants } from "node:crypto";
import type { SecureVersion } from "node:tls";

/** TLS 1.3 suites first, then those of TLS 1.2: with an ECDSA key, with an RSA key. */
const suites = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_AES_256_GCM_SHA384",
  "TLS_CHACHA20_POLY1305_SHA256",
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-RSA-CHACHA20-POLY1305",
] as const;

/** Numbers of the TLS 1.2 suites that need an ECDSA key (RFC 5289 §3.2, RFC 7905 §2). */
export const ecdsaSuites: ReadonlySet<number> = new Set([0xc02b, 0xc02c, 0xcca9]);

/** How long a client may resume a session, in seconds; RFC 8446 §4.6.1 allows seven days. */
const sessionSeconds = 86_400;

export const clientTls: {
  readonly ciphers: string;
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  readonly honorCipherOrder: boolean;
  readonly secureOptions: number;
  readonly sessionTimeout: number;
  readonly sessionIdContext: string;
} = {
  ciphers: suites.join(":"),
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  // A client without AES in hardware puts ChaCha20 first, and then gets it.
  honorCipherOrder: true,
  secureOptions:
    constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION | constants.SSL_OP_PRIORITIZE_CHACHA,
  sessionTimeout: sessionSeconds,
  // The same on all nodes: a session of one resumes at another.
  sessionIdContext: "nearcast",
};

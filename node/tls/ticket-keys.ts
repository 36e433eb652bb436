/**
 * The keys of session tickets (RFC 5077), one for each day, derived from the fleet secret. All nodes derive the same
 * keys, so a session of one node resumes at any other.
 *
 *   fleet secret ──HKDF──▶ key of the purpose ──HKDF, day──▶ 16 octets name │ 16 octets HMAC key │ 16 octets AES key
 *
 *   day            yesterday   today     tomorrow
 *   made with                  ✓
 *   accepted       ✓           ✓         ✓ (a node whose clock is ahead), also those of the previous fleet secret
 *
 * OpenSSL's own format of tickets: AES-128-CBC and HMAC-SHA256 under a key of 48 octets, which starts with its name.
 * Whoever learns the fleet secret can decrypt recorded TLS 1.2 sessions that had a ticket (docs: Security model).
 */
import { hkdfSync, type KeyObject, randomBytes } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { derivedKeys } from "#secret/derived-keys.ts";
import { ticketKeyNameBytes } from "./client-hello.ts";

export interface TicketKeys {
  /** 48 octets. */
  readonly current: Buffer;
  /** All keys whose tickets are accepted, by name in hexadecimal; the current one among them. */
  readonly accepted: ReadonlyMap<string, Buffer>;
}

const keyBytes = 48;
const dayMs = 86_400_000;

export function ticketKeyName(key: Buffer): string {
  return key.toString("hex", 0, ticketKeyNameBytes);
}

/**
 * The keys of one day. Pure.
 * @param roots one for each fleet secret, the current one first; at least one
 * @param day days since 1970 in UTC
 */
function ticketKeysOf(roots: readonly (KeyObject | Buffer)[], day: number): TicketKeys {
  const keys = roots.flatMap((root) =>
    [day, day - 1, day + 1].map((one) => Buffer.from(hkdfSync("sha256", root, "", `day ${one}`, keyBytes))),
  );
  return { current: keys[0] as Buffer, accepted: new Map(keys.map((key) => [ticketKeyName(key), key])) };
}

/**
 * Returns a function that returns the keys of now. Before a fleet secret is known, the keys are of this process alone.
 * @param secrets the fleet secrets, the current one first
 */
export function openTicketKeys(secrets: () => readonly Uint8Array[], clock: Clock): () => TicketKeys {
  const roots = derivedKeys(secrets, "nearcast tls tickets");
  const ownRoot = randomBytes(32);
  let lastRoots: readonly KeyObject[] | undefined;
  let lastDay = 0;
  let last: TicketKeys | undefined;
  return () => {
    const now = roots();
    const day = Math.floor(clock.wallMs() / dayMs);
    if (last === undefined || now !== lastRoots || day !== lastDay) {
      last = ticketKeysOf(now.length === 0 ? [ownRoot] : now, day);
      lastRoots = now;
      lastDay = day;
    }
    return last;
  };
}

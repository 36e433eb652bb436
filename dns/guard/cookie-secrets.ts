/**
 * Derives the day's cookie secrets from the fleet secret. Every node derives the same ones, so a client that anycast
 * moves to another node keeps its cookie, and a leaked cookie secret is useful for only a day.
 *
 *   secret of a day = the first 16 octets of HMAC-SHA256(fleet secret, label │ UTC day)
 *
 * Around midnight the secrets of two days are valid: yesterday's cookies are accepted for an hour (RFC 9018 §4.3), and
 * a node whose clock is up to five minutes ahead already issues tomorrow's.
 */
import { createHmac } from "node:crypto";
import { secretsMax } from "./cookie.ts";

const dayMs = 86_400_000;
/** The lifetime of a cookie, one hour, and five minutes for clocks that differ. */
const yesterdayCountsMs = 65 * 60_000;
const tomorrowCountsMs = 5 * 60_000;

/**
 * The current secrets. Call it again at least once a minute.
 * @param fleetSecrets 32 octets each; the first makes cookies, the others are accepted (one more during rotation)
 * @returns 16 octets each, for Cookies.setSecrets(); the first makes cookies. At most 4: with more than two fleet
 *   secrets, the other day's secrets of the last ones are left out around midnight, and their clients get fresh cookies
 */
export function cookieSecrets(fleetSecrets: readonly Uint8Array[], nowMs: number): Uint8Array[] {
  const today = Math.floor(nowMs / dayMs);
  const sinceMidnightMs = nowMs - today * dayMs;
  const secrets = fleetSecrets.map((fleetSecret) => secretOfDay(fleetSecret, today));
  let otherDay = today;
  if (sinceMidnightMs < yesterdayCountsMs) otherDay = today - 1;
  else if (sinceMidnightMs >= dayMs - tomorrowCountsMs) otherDay = today + 1;
  if (otherDay !== today) secrets.push(...fleetSecrets.map((fleetSecret) => secretOfDay(fleetSecret, otherDay)));
  return secrets.slice(0, secretsMax);
}

function secretOfDay(fleetSecret: Uint8Array, day: number): Uint8Array {
  const digest = createHmac("sha256", fleetSecret).update(`nearcast dns cookie\0${day}`).digest();
  return Uint8Array.from(digest.subarray(0, 16));
}

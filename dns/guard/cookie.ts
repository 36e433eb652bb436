/**
 * DNS cookies (RFC 7873) in the format of RFC 9018, so that every server of the fleet accepts the others' cookies.
 *
 *   client cookie 8 │ version 1 │ reserved 3 │ timestamp 4 │ hash 8
 *                   └──────────── server cookie 16 ───────────────┘
 *   hash = SipHash-2-4(secret, client cookie │ version │ reserved │ timestamp │ client address 4 or 16)
 *
 * A client that returns the server cookie that was sent to its address has proved that address. Cookies are not
 * required: a client with none, a bad one or an old one gets a normal answer with a fresh one, so BADCOOKIE is never
 * sent (RFC 7873 §5.2.4 leaves this to the server).
 *
 * Secrets: the first makes cookies, all are accepted. To rotate without invalidating anybody's cookie, add the new
 * secret as the second everywhere, then make it the first, then drop the old one an hour later (RFC 9018 §5).
 */
import type { IpAddress } from "../wire/address.ts";
import { byteAt } from "../wire/bytes.ts";
import { clientCookieLength, serverCookieLength, type Edns, type OptReply } from "../wire/edns.ts";
import { sipHash } from "./siphash.ts";

/** RFC 9018 §4.3: accepted for an hour, and from clocks that are up to five minutes ahead of ours. */
const ageMaxSeconds = 3600;
const aheadMaxSeconds = 300;
/** §4.3: a cookie older than this is renewed. */
const renewAgeSeconds = 1800;
const version = 1;

const secretLength = 16;
/** Each secret costs one hash per wrong cookie, so more of them would only help an attacker. */
export const secretsMax = 4;

export interface Cookies {
  /**
   * Checks the query's cookie and puts the server cookie for the answer into `reply`: the client's own while it is
   * young, otherwise a fresh one; none if the query has no cookie or we have no secret.
   * @param nowSeconds since 1970
   * @returns whether the query carried a server cookie that is ours, for this address, and not too old
   */
  check: (edns: Edns, address: IpAddress, nowSeconds: number, reply: OptReply) => boolean;
  /**
   * @param secrets 16 octets each, at most 4; the first makes cookies, all are accepted; none: no cookies are issued
   * @throws RangeError if there are more, or if one has another length
   */
  setSecrets: (secrets: readonly Uint8Array[]) => void;
}

export function createCookies(): Cookies {
  const keys = new Uint32Array(secretsMax * 4);
  const keyViews = Array.from({ length: secretsMax }, (_, index) => keys.subarray(index * 4, index * 4 + 4));
  let secretsCount = 0;
  // The hash's input in words: client cookie 2, version and reserved 1, timestamp 1, address 1 or 4, length 1 or 2.
  const words = new Uint32Array(10);
  const hash = new Uint32Array(2);

  function check(edns: Edns, address: IpAddress, nowSeconds: number, reply: OptReply): boolean {
    reply.hasServerCookie = false;
    const { length, bytes } = edns.cookie;
    if (length === 0 || secretsCount === 0) return false;
    reply.hasServerCookie = true;
    const { serverCookie } = reply;
    words[0] = littleEndianAt(bytes, 0);
    words[1] = littleEndianAt(bytes, 4);
    const count = putAddress(address);
    let isValid = false;
    if (length === clientCookieLength + serverCookieLength && byteAt(bytes, clientCookieLength) === version) {
      const stamp =
        (byteAt(bytes, 12) << 24) | (byteAt(bytes, 13) << 16) | (byteAt(bytes, 14) << 8) | byteAt(bytes, 15);
      // Serial number arithmetic (RFC 1982), so that the wrap in 2106 does no harm.
      const ageSeconds = (nowSeconds - stamp) | 0;
      if (ageSeconds <= ageMaxSeconds && ageSeconds >= -aheadMaxSeconds) {
        words[2] = littleEndianAt(bytes, 8);
        words[3] = littleEndianAt(bytes, 12);
        const secret = secretOf(bytes, count);
        isValid = secret >= 0;
        // Renew a cookie from another secret or with other reserved octets, too.
        if (secret === 0 && ageSeconds <= renewAgeSeconds && words[2] === version) {
          for (let i = 0; i < serverCookieLength; i++) serverCookie[i] = byteAt(bytes, clientCookieLength + i);
          return true;
        }
      }
    }
    words[2] = version;
    serverCookie[0] = version;
    serverCookie[1] = 0;
    serverCookie[2] = 0;
    serverCookie[3] = 0;
    serverCookie[4] = nowSeconds >>> 24;
    serverCookie[5] = nowSeconds >>> 16;
    serverCookie[6] = nowSeconds >>> 8;
    serverCookie[7] = nowSeconds;
    words[3] = littleEndianAt(serverCookie, 4);
    sipHash(keyViews[0] ?? keys, words, count, hash);
    putLittleEndian(serverCookie, 8, hash[0] ?? 0);
    putLittleEndian(serverCookie, 12, hash[1] ?? 0);
    return isValid;
  }

  /** Index of the secret that made the cookie's hash; `words` has the other parts of the cookie. -1: none. */
  function secretOf(bytes: Uint8Array, count: number): number {
    const low = littleEndianAt(bytes, 16);
    const high = littleEndianAt(bytes, 20);
    for (let index = 0; index < secretsCount; index++) {
      sipHash(keyViews[index] ?? keys, words, count, hash);
      // Compare both halves at once, so that timing does not reveal how much of a guess was right.
      if ((((hash[0] ?? 0) ^ low) | ((hash[1] ?? 0) ^ high)) === 0) return index;
    }
    return -1;
  }

  /** Appends the address and the length word to the first four words. Returns the number of words. */
  function putAddress(address: IpAddress): number {
    words[4] = littleEndianAt(address.bytes, 0);
    if (address.family === 4) {
      // 20 octets: the address shares the last 64 bits with the length.
      words[5] = 20 << 24;
      return 6;
    }
    words[5] = littleEndianAt(address.bytes, 4);
    words[6] = littleEndianAt(address.bytes, 8);
    words[7] = littleEndianAt(address.bytes, 12);
    words[8] = 0;
    words[9] = 32 << 24;
    return 10;
  }

  function setSecrets(secrets: readonly Uint8Array[]): void {
    if (secrets.length > secretsMax) {
      throw new RangeError(`cookie secrets: ${secrets.length} are more than ${secretsMax}`);
    }
    secrets.forEach((secret, index) => {
      if (secret.length !== secretLength) {
        throw new RangeError(`cookie secret ${index}: ${secret.length} octets, not ${secretLength}`);
      }
    });
    secrets.forEach((secret, index) => {
      for (let word = 0; word < 4; word++) keys[index * 4 + word] = littleEndianAt(secret, word * 4);
    });
    secretsCount = secrets.length;
  }

  return { check, setSecrets };
}

function littleEndianAt(bytes: Uint8Array, at: number): number {
  return (
    byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24)
  );
}

function putLittleEndian(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

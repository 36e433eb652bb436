/**
 * The key of the session between edge and BIRD: 32 random octets in base64url, in a file that only the edge's user (and
 * root) may read. Both sides sign each TCP segment with it (TCP MD5, RFC 2385), so that no other user of the machine
 * can take over the lease by connecting from the edge's address.
 *
 *   nearcast bgp config --output ──makes──▶ lease.key (edge's user, 600)
 *                                └─copies─▶ nearcast-lease.conf (group bird, 640), which bird.conf includes
 *
 * The edge reads the file for every connection, so a new key needs no restart.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { command } from "./command-name.ts";

const keyBytes = 32;
/** What `makeLeaseKey` writes; the kernel takes up to 80 octets. */
const keyPattern = /^[A-Za-z0-9_-]{43}$/;
/** A key and a line break are 44 octets. A much longer file is something else. */
const fileBytesMax = 1024;

/** Generates a key. */
export function makeLeaseKey(): string {
  return randomBytes(keyBytes).toString("base64url");
}

/**
 * The key in the file.
 * @throws Error that says what is wrong with the file and how to fix it; never contains the key
 */
export function readLeaseKey(file: string): string {
  const { mode, size } = statSync(file);
  if ((mode & 0o077) !== 0) {
    const octal = (mode & 0o777).toString(8);
    throw new Error(`${file} has mode 0${octal}, so other users can read the key: run \`chmod 600 ${file}\``);
  }
  const text = size > fileBytesMax ? "" : readFileSync(file, "utf8").trim();
  if (keyPattern.test(text)) return text;
  throw new Error(
    `${file} holds no lease key (43 characters of base64url): delete it, then run ` +
      `\`${command} bgp config --output\` again to make a new one`,
  );
}

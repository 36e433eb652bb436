/**
 * One token in its own file, readable only by its owner; a file that others can read is refused, because then nobody
 * knows who has the token.
 */
import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { writeAtomic } from "#base/atomic-file.ts";
import { NearcastError } from "#base/errors.ts";
import { originSecret, readSecretFile, secretFileMode } from "#base/secret-file.ts";
import { tokenPattern } from "#secret/edge-token.ts";

const wellFormed = new RegExp(tokenPattern);

/** The token in a file; undefined when there is none, for any reason: loadToken() reports the reason. */
export async function peekToken(file: string): Promise<string | undefined> {
  // Reading a named pipe might never end.
  const isPlain = await stat(file).then(
    (stats) => stats.isFile(),
    () => false,
  );
  const text = isPlain ? await readFile(file, "utf8").catch(() => "") : "";
  return wellFormed.test(text.trim()) ? text.trim() : undefined;
}

/**
 * The token in a file; if the file does not exist, it is created.
 * @throws NearcastError INTERNAL for a file that others can read or that contains no token, DISK_FAILED when none can
 * be created
 */
export async function loadToken(file: string): Promise<string> {
  const text = await readSecretFile(file, originSecret("token"));
  if (text === undefined) {
    const made = newToken();
    await storeToken(file, made);
    return made;
  }
  const token = text.trim();
  if (!wellFormed.test(token)) {
    throw new NearcastError(
      "INTERNAL",
      `${file} must hold a token (43 characters of base64url): delete it, and the origin makes a new one`,
    );
  }
  return token;
}

/** 256 bits, as 43 characters of base64url. */
export function newToken(): string {
  return randomBytes(32).toString("base64url");
}

/** @throws NearcastError DISK_FAILED */
export async function storeToken(file: string, token: string): Promise<void> {
  try {
    await writeAtomic(file, `${token}\n`, { mode: secretFileMode, durable: true });
  } catch (error) {
    throw new NearcastError("DISK_FAILED", `can't write the token to ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

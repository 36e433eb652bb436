/**
 * The two bearer tokens of an origin: `writer` may do everything, `edge` may read and register nodes. Both are made at
 * the first start, each in a file of its own below `dataDir/secrets`, readable by the owner alone; one that others can
 * read is refused, because then nobody knows who has the token. To change one: delete its file and start again.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmod, link, mkdir, open, unlink } from "node:fs/promises";
import { join } from "node:path";
import { NearcastError } from "#base/errors.ts";
import { readSecretFile, secretFileMode } from "./secret-file.ts";

export const tokenKinds = ["writer", "edge"] as const;
export type TokenKind = (typeof tokenKinds)[number];

/** Names a token without telling anything of it. */
export interface TokenName {
  readonly kind: TokenKind;
  /** See tokenId(). */
  readonly id: string;
}

/** 256 random bits as base64url, which needs no escaping anywhere. */
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;

export type Presented = ({ outcome: "known" } & TokenName) | { outcome: "missing" | "malformed" | "unknown" };

export interface Tokens {
  /** Who presents this `Authorization` header (RFC 6750 §2.1). */
  readonly judge: (authorization: string | undefined) => Presented;
  /** Where each token is to be read from. */
  readonly files: Readonly<Record<TokenKind, string>>;
}

export async function loadTokens(secretsDir: string): Promise<Tokens> {
  await mkdir(secretsDir, { recursive: true, mode: 0o700 });
  const files = { writer: join(secretsDir, "writer.token"), edge: join(secretsDir, "edge.token") };
  const digests: { kind: TokenKind; digest: Buffer }[] = [];
  for (const kind of tokenKinds) digests.push({ kind, digest: digestOf(await loadToken(files[kind])) });
  return { files, judge: (authorization) => judge(authorization, digests) };
}

function judge(authorization: string | undefined, digests: readonly { kind: TokenKind; digest: Buffer }[]): Presented {
  if (authorization === undefined) return { outcome: "missing" };
  const token = /^bearer ([A-Za-z0-9._~+/=-]{1,200})$/i.exec(authorization)?.[1];
  if (token === undefined) return { outcome: "malformed" };
  // Digests have one length, and comparing all of them takes the same time whatever was presented.
  const presented = digestOf(token);
  let kind: TokenKind | undefined;
  for (const each of digests) if (timingSafeEqual(each.digest, presented)) kind = each.kind;
  return kind === undefined ? { outcome: "unknown" } : { outcome: "known", kind, id: tokenId(token) };
}

/** 8 hexadecimal digits that name a token without telling anything of it, for people, logs and the audit. */
export function tokenId(token: string): string {
  return createHash("sha256").update("nearcast token\0").update(token).digest("hex").slice(0, 8);
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

async function loadToken(file: string): Promise<string> {
  const text = await readSecretFile(file, "token");
  if (text === undefined) return await makeToken(file);
  const token = text.trim();
  if (!tokenPattern.test(token)) {
    throw new NearcastError(
      "INTERNAL",
      `${file} holds no token (43 characters of base64url): delete it to have a new one made`,
    );
  }
  return token;
}

/** Under a temporary name first: a start that is killed halfway must not leave an empty token behind. */
async function makeToken(file: string): Promise<string> {
  const token = randomBytes(32).toString("base64url");
  const temporary = `${file}.${randomBytes(6).toString("hex")}.tmp`;
  const handle = await open(temporary, "wx", secretFileMode);
  try {
    await handle.writeFile(`${token}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  // The umask can only have taken rights away; this gives the owner's back.
  await chmod(temporary, secretFileMode);
  try {
    await link(temporary, file);
  } finally {
    await unlink(temporary);
  }
  return token;
}

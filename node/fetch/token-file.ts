/**
 * The edge token's file on an edge: read at the start, and again whenever it changes, so that a rotation needs no
 * restart.
 *
 *   every lookMs   changed since the last look? ─▶ wait one look more ─▶ still the same ─▶ read, take
 *   refused        the origin refuses the token ─▶ read at once
 *   delivered      the origin handed out the next token ─▶ take, write
 *
 * Content that is not a whole token (empty, cut off, too long) is ignored: the token in use stays. A file that is
 * written in pieces changes from look to look, and is read when it no longer changes.
 */
import { realpath } from "node:fs/promises";
import { writeAtomic } from "#base/atomic-file.ts";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { markOf } from "#base/file-mark.ts";
import { readSecretFile, type SecretFile } from "#base/secret-file.ts";
import { tokenId, tokenPattern } from "#secret/edge-token.ts";

/** A stat every second costs nothing, and a change of the file takes effect within two. */
const lookMs = 1000;
/** The length is fixed, so a half-written file holds no token, even if it is read at once. */
const wellFormed = new RegExp(tokenPattern);
const edgeTokenFile: SecretFile = {
  what: "edge token",
  reader: "edge",
  whenLeaked: ". Whoever could read it may have it: rotate the token (see the runbook)",
  whenUnreadable: "Write the fleet's current edge token into it; the origin keeps it in secrets/edge.token",
};

export interface TokenSource {
  current: () => string;
  /**
   * The origin refused `token`: looks into the file at once.
   * @returns whether another token can be presented
   */
  refused: (token: string) => Promise<boolean>;
}

export interface TokenFile extends TokenSource {
  readonly path: string;
  /** Whether the file holds the token that is in use; otherwise a restart would not know it. */
  isSaved: () => boolean;
  /**
   * Uses the token from now on, and writes it into the file.
   * @throws the system's error if it can't be written; it is used nevertheless
   */
  deliver: (token: string) => Promise<void>;
  close: () => void;
}

/**
 * @param options.mayWrite false for all but one of several processes that share the file
 * @throws NearcastError INTERNAL when the file can't be read, can be read by others, or holds no token
 */
export async function openTokenFile(options: {
  path: string;
  mayWrite: boolean;
  clock: Clock;
  log: Log;
}): Promise<TokenFile> {
  const { path, mayWrite, clock, log } = options;
  let takenMark = await markIfAny(path);
  let seenMark = takenMark;
  let current = await readToken(path);
  let inFile = current;
  let reading: Promise<void> | undefined;

  const use = (token: string, why: string): void => {
    if (token === current) return;
    log.info({ file: path, id: tokenId(token), idBefore: tokenId(current) }, why);
    current = token;
  };
  /** One read for all callers at the same time. */
  const reread = async (): Promise<void> => {
    reading ??= (async () => {
      try {
        const mark = await markIfAny(path);
        inFile = await readToken(path);
        use(inFile, "another edge token was taken from its file");
        takenMark = mark;
      } finally {
        reading = undefined;
      }
    })();
    await reading;
  };

  const look = async (): Promise<void> => {
    const mark = await markIfAny(path);
    const isAtRest = mark === seenMark;
    seenMark = mark;
    if (mark === takenMark || !isAtRest) return;
    // Whatever the result, this state of the file was looked at; the next change is looked at again.
    takenMark = mark;
    await reread();
  };
  const cancel = clock.every(lookMs, () => {
    look().catch((error: unknown) => {
      log.warn(
        { reason: (error as Error).message },
        "the changed token file could not be used; the current token stays in use",
      );
    });
  });

  return {
    path,
    current: () => current,
    isSaved: () => inFile === current,
    async refused(token) {
      if (current !== token) return true;
      try {
        await reread();
      } catch (error) {
        log.debug(
          { reason: (error as Error).message },
          "the origin refuses the token, and the token file has no other",
        );
      }
      return current !== token;
    },
    async deliver(token) {
      use(token, "the origin handed out the next edge token");
      if (!mayWrite) return;
      inFile = await readToken(path).catch(() => "");
      if (inFile === token) return;
      // Resolves a link, so that the file is replaced where it is and the link stays.
      await writeAtomic(await realpath(path), `${token}\n`, { mode: 0o600, durable: true });
      inFile = token;
      takenMark = seenMark = await markIfAny(path);
    },
    close: cancel,
  };
}

/** None for a file that can't be looked at either: reading it reports why. */
async function markIfAny(path: string): Promise<string | undefined> {
  return await markOf(path).catch(() => undefined);
}

async function readToken(path: string): Promise<string> {
  const text = await readSecretFile(path, edgeTokenFile);
  if (text === undefined) {
    throw new NearcastError("INTERNAL", `origin.tokenFile ${path} does not exist. ${edgeTokenFile.whenUnreadable}`);
  }
  const token = text.trim();
  if (wellFormed.test(token)) return token;
  throw new NearcastError(
    "INTERNAL",
    `origin.tokenFile ${path} must hold an edge token (43 characters of base64url). ${edgeTokenFile.whenUnreadable}`,
  );
}

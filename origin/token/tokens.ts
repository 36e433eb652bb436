/**
 * The bearer tokens of an origin: `writer` may do everything, `edge` may read and register nodes. The current token of
 * each kind is in its own file below `dataDir/secrets` (token-file.ts). The catalogue stores the digests of all
 * accepted tokens, so an older token survives a restart but is stored nowhere.
 *
 *   rotate ──▶ file: the new token ──▶ catalogue: it is current, the older ones end later; audit entry, event
 *   someone replaces or deletes the file ──▶ noticed within fileCheckMs, or at the start ──▶ the same
 *
 * A file with a token of the other kind is always refused (token-conflict.ts).
 *
 * The file is written first. If the origin is killed in between, it finds at its next start that the file has another
 * token than the catalogue, and continues from there: no accepted token is lost, and none is skipped.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { join } from "node:path";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { markOf } from "#base/file-mark.ts";
import type { Log } from "#base/log.ts";
import { type EdgeTokenAnswer, tokenId } from "#secret/edge-token.ts";
import type { Actor } from "../catalogue/audit-entry.ts";
import type { Catalogue, TokenRecord } from "../catalogue/catalogue.ts";
import { mustNotBeOfOtherKind } from "./token-conflict.ts";
import { loadToken, newToken, peekToken, storeToken } from "./token-file.ts";
import { type TokenKind, tokenKinds, type TokenName } from "./token-kind.ts";

/** How often the files are checked; a stat of two files costs nothing. */
const fileCheckMs = 2000;
/** Addresses listed for one token: enough to identify every edge of a fleet, and no more. */
const addressesMax = 64;

export type Presented = ({ outcome: "known" } & TokenName) | { outcome: "missing" | "malformed" | "unknown" };

export interface TokenUse extends TokenName {
  readonly createdMs: number;
  /** Undefined: it is the current one. */
  readonly expiresMs: number | undefined;
  readonly isHandedOut: boolean;
  /** Since the origin started. */
  readonly lastUsedMs: number | undefined;
  /** The addresses that used it last, newest first. */
  readonly usedFrom: readonly string[];
}

export interface Tokens {
  /** Identifies the token of this `Authorization` field (RFC 6750 §2.1). */
  readonly judge: (authorization: string | undefined) => Presented;
  /** Whether this token is still accepted; for connections that outlive their request. */
  readonly isAccepted: (token: TokenName) => boolean;
  readonly noteUse: (token: TokenName, address: string) => void;
  /** The file of each current token. */
  readonly files: Readonly<Record<TokenKind, string>>;
  /** Current ones first. */
  readonly list: () => readonly TokenUse[];
  /**
   * Makes a new token. Previous ones are accepted for `overlapMs` more, by default as configured.
   * @param isHandedOut whether edges may fetch the new token with an older one
   * @throws NearcastError DISK_FAILED; CONFLICT while the other kind's file holds a token of this kind
   */
  readonly rotate: (
    kind: TokenKind,
    options: { overlapMs?: number | undefined; isHandedOut: boolean },
    actor: Actor,
  ) => Promise<{ token: string; id: string; olderUntilMs: number }>;
  /**
   * Retires the older tokens at once.
   * @returns how many
   * @throws NearcastError CONFLICT while the other kind's file holds a token of this kind
   */
  readonly retire: (kind: TokenKind, actor: Actor) => Promise<number>;
  /** The answer to an edge that presents this token. */
  readonly tellEdge: (presented: TokenName) => EdgeTokenAnswer;
  readonly close: () => void;
}

export interface TokenDeps {
  readonly secretsDir: string;
  readonly catalogue: Pick<Catalogue, "tokens" | "adoptToken" | "replaceToken" | "retireTokens">;
  readonly overlapMs: number;
  /** Called when the edge token has changed; the event is in the log. */
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** The actor for a replaced file: no HTTP request caused it. */
const ownMachine: Actor = { token: undefined, author: "origin", address: undefined };

/** One record: the files, and what the catalogue knows about their tokens. */
interface TokenBook {
  readonly deps: TokenDeps;
  readonly files: Readonly<Record<TokenKind, string>>;
  /** The mark of each file when its token was read. */
  readonly watched: Record<TokenKind, string | undefined>;
  readonly current: Record<TokenKind, string>;
  records: readonly TokenRecord[];
  /** Token id → address → time of its last use; the last used address comes last. */
  readonly uses: Map<string, Map<string, number>>;
  /** The last queued operation. */
  turn: Promise<unknown>;
}

/** How a new token replaces the previous one. */
interface Replacement {
  readonly overlapMs: number;
  readonly isHandedOut: boolean;
}

/** @throws NearcastError INTERNAL for a file that others can read, or that contains no token or the other kind's */
export async function openTokens(deps: TokenDeps): Promise<Tokens> {
  const { secretsDir, catalogue, clock, log } = deps;
  const files = { writer: join(secretsDir, "writer.token"), edge: join(secretsDir, "edge.token") };
  const book: TokenBook = {
    deps,
    files,
    watched: { writer: await markOf(files.writer), edge: await markOf(files.edge) },
    current: { writer: await loadToken(files.writer), edge: await loadToken(files.edge) },
    records: await catalogue.tokens(),
    uses: new Map(),
    turn: Promise.resolve(),
  };
  for (const kind of tokenKinds) await take(book, kind, book.current[kind], asConfigured(deps), ownMachine);

  let isLooking = false;
  const cancel = clock.every(fileCheckMs, () => {
    if (isLooking) return;
    isLooking = true;
    void inTurn(book, async () => {
      for (const kind of tokenKinds) await look(book, kind);
    })
      .catch((error: unknown) => {
        log.error({ err: error }, "could not check the token files; the current tokens stay in use");
      })
      .finally(() => {
        isLooking = false;
      });
  });

  return {
    files,
    judge: (authorization) => judge(authorization, acceptedRecords(book)),
    isAccepted: ({ kind, id }) => acceptedRecords(book).some((record) => record.kind === kind && record.id === id),
    noteUse(token, address) {
      noteUse(book, token, address);
    },
    list: () => list(book),
    rotate: async (kind, { overlapMs = deps.overlapMs, isHandedOut }, actor) =>
      await inTurn(book, () => rotate(book, kind, { overlapMs, isHandedOut }, actor)),
    retire: async (kind, actor) => await inTurn(book, () => retire(book, kind, actor)),
    tellEdge: (presented) => tellEdge(book, presented),
    close: cancel,
  };
}

function asConfigured({ overlapMs }: TokenDeps): Replacement {
  return { overlapMs, isHandedOut: true };
}

/** Rotations and checks of the files run one at a time: a check must not find the file of an unfinished rotation. */
async function inTurn<Result>(book: TokenBook, work: () => Promise<Result>): Promise<Result> {
  const mine = book.turn.then(work, work);
  book.turn = mine;
  return await mine;
}

/** The catalogue also has expired tokens, which machines may still hold. */
async function mustBeOwn({ files, records }: TokenBook, kind: TokenKind, digest: string): Promise<void> {
  const file = files[kind];
  mustNotBeOfOtherKind({ kind, digest, file }, records);
  // If the token is known, the other file is the copy; that file is refused when it is checked.
  if (records.some((record) => record.digest === digest)) return;
  const other = otherKind(kind);
  const inFile = await peekToken(files[other]);
  if (inFile === undefined) return;
  mustNotBeOfOtherKind({ kind, digest, file }, [{ kind: other, digest: hexDigestOf(inFile) }]);
}

/**
 * Call this before tokens of this kind end: once the catalogue has forgotten a token, nothing shows that the other
 * kind's file must not contain it.
 */
async function otherFileMustNotHold(book: TokenBook, kind: TokenKind): Promise<void> {
  const other = otherKind(kind);
  const file = book.files[other];
  const inFile = await peekToken(file);
  if (inFile === undefined) return;
  mustNotBeOfOtherKind({ kind: other, digest: hexDigestOf(inFile), file }, book.records, "CONFLICT");
}

/**
 * The file's token becomes the current one, unless it already is.
 * @returns until when the previous tokens are accepted
 */
async function take(
  book: TokenBook,
  kind: TokenKind,
  token: string,
  { overlapMs, isHandedOut }: Replacement,
  actor: Actor,
): Promise<number> {
  const { catalogue, clock, log, changed } = book.deps;
  const next = { digest: hexDigestOf(token), kind, id: tokenId(token), isHandedOut };
  await mustBeOwn(book, kind, next.digest);
  const known = book.records.filter((record) => record.kind === kind);
  const olderUntilMs = clock.wallMs() + overlapMs;
  const isNews =
    known.length > 0 && !known.some(({ digest, expiresMs }) => isCurrent(expiresMs) && digest === next.digest);
  if (known.length === 0) await catalogue.adoptToken(next);
  else if (isNews) await catalogue.replaceToken(actor, next, olderUntilMs);
  book.current[kind] = token;
  book.records = await catalogue.tokens();
  if (isNews) {
    log.info({ kind, id: next.id, olderUntil: new Date(olderUntilMs).toISOString() }, "rotated a token");
    if (kind === "edge") changed();
  }
  return olderUntilMs;
}

/** Reads the file's token if the file has changed. */
async function look(book: TokenBook, kind: TokenKind): Promise<void> {
  const { deps, files, watched } = book;
  const mark = await markOf(files[kind]);
  if (mark === watched[kind]) return;
  watched[kind] = mark;
  try {
    await take(book, kind, await loadToken(files[kind]), asConfigured(deps), ownMachine);
    watched[kind] = await markOf(files[kind]);
  } catch (error) {
    // A file that is being written gets another mark. A token that the catalogue refused is tried again at the next
    // check.
    if ((error as NearcastError).code !== "INTERNAL") watched[kind] = "not taken";
    deps.log.warn(
      { err: error, file: files[kind] },
      "the changed token file could not be used; the current token stays in use",
    );
  }
}

function acceptedRecords({ deps, records }: TokenBook): readonly TokenRecord[] {
  const nowMs = deps.clock.wallMs();
  return records.filter(({ expiresMs }) => expiresMs === undefined || expiresMs > nowMs);
}

function noteUse({ deps, uses }: TokenBook, { id }: TokenName, address: string): void {
  const from = uses.get(id) ?? new Map<string, number>();
  uses.set(id, from);
  // Deleted and added again, so that the map is ordered by the last use.
  from.delete(address);
  from.set(address, deps.clock.wallMs());
  const [oldest] = from.keys();
  if (from.size > addressesMax && oldest !== undefined) from.delete(oldest);
}

function list(book: TokenBook): ReturnType<Tokens["list"]> {
  return acceptedRecords(book).map(({ kind, id, createdMs, expiresMs, isHandedOut }) => {
    const from = [...(book.uses.get(id) ?? [])].toReversed();
    const usedFrom = from.map(([address]) => address);
    return { kind, id, createdMs, expiresMs, isHandedOut, lastUsedMs: from[0]?.[1], usedFrom };
  });
}

async function rotate(
  book: TokenBook,
  kind: TokenKind,
  replacement: Replacement,
  actor: Actor,
): Promise<{ token: string; id: string; olderUntilMs: number }> {
  const { files, watched } = book;
  await otherFileMustNotHold(book, kind);
  const token = newToken();
  await storeToken(files[kind], token);
  const mark = await markOf(files[kind]);
  // If the catalogue refuses it now, the next check finds a changed file, and continues from there.
  watched[kind] = "not taken";
  const olderUntilMs = await take(book, kind, token, replacement, actor);
  watched[kind] = mark;
  forgetUses(book.uses, book.records);
  return { token, id: tokenId(token), olderUntilMs };
}

async function retire(book: TokenBook, kind: TokenKind, actor: Actor): Promise<number> {
  const { catalogue } = book.deps;
  await otherFileMustNotHold(book, kind);
  const retired = await catalogue.retireTokens(actor, kind);
  book.records = await catalogue.tokens();
  forgetUses(book.uses, book.records);
  return retired;
}

function tellEdge({ records, current }: TokenBook, presented: TokenName): EdgeTokenAnswer {
  const now = records.find(({ kind, expiresMs }) => kind === "edge" && isCurrent(expiresMs));
  if (now === undefined) throw new NearcastError("INTERNAL", "the catalogue has no edge token");
  if (now.id === presented.id) return { id: now.id };
  const own = records.find(({ kind, id }) => kind === "edge" && id === presented.id);
  return {
    id: now.id,
    ...(now.isHandedOut ? { token: current.edge } : {}),
    ...(own?.expiresMs === undefined ? {} : { olderUntil: new Date(own.expiresMs).toISOString() }),
  };
}

function isCurrent(expiresMs: number | undefined): boolean {
  return expiresMs === undefined;
}

/** Uses of tokens that are no longer accepted are irrelevant, and must not accumulate. */
function forgetUses(uses: Map<string, unknown>, records: readonly TokenRecord[]): void {
  for (const id of uses.keys()) if (!records.some((record) => record.id === id)) uses.delete(id);
}

function judge(authorization: string | undefined, accepted: readonly TokenRecord[]): Presented {
  if (authorization === undefined) return { outcome: "missing" };
  const token = /^bearer ([A-Za-z0-9._~+/=-]{1,200})$/i.exec(authorization)?.[1];
  if (token === undefined) return { outcome: "malformed" };
  // Digests have the same length, and comparing all of them takes the same time whatever was presented.
  const presented = digestOf(token);
  let known: TokenName | undefined;
  for (const { kind, id, digest } of accepted) {
    if (timingSafeEqual(Buffer.from(digest, "hex"), presented)) known = { kind, id };
  }
  return known === undefined ? { outcome: "unknown" } : { outcome: "known", ...known };
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** As the catalogue stores it. */
function hexDigestOf(token: string): string {
  return digestOf(token).toString("hex");
}

function otherKind(kind: TokenKind): TokenKind {
  return kind === "writer" ? "edge" : "writer";
}

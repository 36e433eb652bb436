/**
 * SQL for tokens: only their digests are stored, never a token. catalogue.ts documents the methods.
 */
import type { SQLOutputValue } from "node:sqlite";
import { tokenEventKind } from "#secret/edge-token.ts";
import type { TokenKind } from "../token/token-kind.ts";
import type { Catalogue, TokenRecord } from "./catalogue.ts";
import { type Changes, unchanged } from "./sqlite-change.ts";
import type { SqliteSession } from "./sqlite-session.ts";

/** How many older tokens of one kind are accepted at a time; another rotation ends the oldest one early. */
const olderMax = 8;

type TokenMethods = Pick<Catalogue, "tokens" | "adoptToken" | "replaceToken" | "retireTokens">;

export function openTokenTables({ db, clock, transaction }: SqliteSession, change: Changes["change"]): TokenMethods {
  const select = db.prepare("SELECT * FROM tokens ORDER BY kind, created_ms DESC, digest");
  const selectCurrent = db.prepare("SELECT * FROM tokens WHERE kind = ? AND expires_ms IS NULL");
  const write = db.prepare(
    `INSERT INTO tokens (digest, kind, id, created_ms, expires_ms, is_handed_out) VALUES (?, ?, ?, ?, NULL, ?)
     ON CONFLICT (digest) DO UPDATE SET expires_ms = NULL, is_handed_out = excluded.is_handed_out`,
  );
  const expire = db.prepare("UPDATE tokens SET expires_ms = min(coalesce(expires_ms, ?), ?) WHERE kind = ?");
  const dropExpired = db.prepare("DELETE FROM tokens WHERE expires_ms <= ?");
  const dropOldest = db.prepare(
    `DELETE FROM tokens WHERE digest IN (SELECT digest FROM tokens WHERE kind = ? AND expires_ms IS NOT NULL
     ORDER BY created_ms DESC, digest LIMIT -1 OFFSET ?)`,
  );
  const deleteOlder = db.prepare("DELETE FROM tokens WHERE kind = ? AND expires_ms IS NOT NULL AND expires_ms > ?");

  const current = (kind: TokenKind): TokenRecord | undefined => {
    const row = selectCurrent.get(kind);
    return row === undefined ? undefined : recordOf(row);
  };

  return {
    tokens: async () => select.all().map(recordOf),
    adoptToken: async ({ digest, kind, id }) => {
      transaction(() => write.run(digest, kind, id, clock.wallMs(), 1));
    },
    replaceToken: async (actor, { digest, kind, id, isHandedOut }, olderExpireMs) =>
      change(actor, (append) => {
        const nowMs = clock.wallMs();
        const before = current(kind);
        if (before?.digest === digest) return unchanged(undefined);
        expire.run(olderExpireMs, olderExpireMs, kind);
        write.run(digest, kind, id, nowMs, isHandedOut ? 1 : 0);
        dropExpired.run(nowMs);
        dropOldest.run(kind, olderMax);
        if (kind === "edge") append(tokenEventKind, { id });
        const olderAcceptedUntil = olderExpireMs > nowMs ? new Date(olderExpireMs).toISOString() : "now";
        const facts = { token: kind, id, idBefore: before?.id, olderAcceptedUntil };
        return { result: undefined, audited: { kind: "token-rotate", targets: [], facts } };
      }),
    retireTokens: async (actor, kind) =>
      change(actor, () => {
        const retired = Number(deleteOlder.run(kind, clock.wallMs()).changes);
        if (retired === 0) return unchanged(retired);
        return {
          result: retired,
          audited: { kind: "token-retire", targets: [], facts: { token: kind, retired, id: current(kind)?.id } },
        };
      }),
  };
}

function recordOf(row: Record<string, SQLOutputValue>): TokenRecord {
  return {
    digest: String(row["digest"]),
    kind: String(row["kind"]) as TokenKind,
    id: String(row["id"]),
    createdMs: Number(row["created_ms"]),
    expiresMs: row["expires_ms"] === null ? undefined : Number(row["expires_ms"]),
    isHandedOut: row["is_handed_out"] === 1,
  };
}

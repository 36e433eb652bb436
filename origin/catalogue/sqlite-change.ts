/**
 * The only way to make a requested change to the catalogue: one transaction with the change, its events for edges and
 * its audit entry. Only here `work` can append events, and it must return what it changed. So the compiler rejects a
 * change without an actor.
 *
 *   audit            one row for each change, never updated (a trigger refuses)
 *   audit_targets    the names under which `--name` finds an entry; a prefix covers all names that start with it
 *
 * Bounds: entries older than `auditDays` are removed, and each kind keeps its newest `auditEntries` targets. The bound
 * is per kind, so a flood of uploads can't displace the entry of a purge. It counts targets, so a purge of 1000 names
 * counts as a thousand.
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { type AuditKind, auditKindOf, namesOfAuditKind } from "#base/audit-kinds.ts";
import type { TokenKind } from "../token/token-kind.ts";
import {
  type Actor,
  type Audited,
  type AuditEntry,
  type AuditFact,
  type AuditQuery,
  targetsToldMax,
} from "./audit-entry.ts";
import type { Catalogue, EventKind, Purge } from "./catalogue.ts";
import type { SqliteSession } from "./sqlite-session.ts";

/** Appends one event to the feed's log. @returns its number */
export type AppendEvent = (
  kind: EventKind,
  payload: Purge | { version: number } | { id: string } | { revision: number },
) => number;

export interface Changed<Result> {
  readonly result: Result;
  /** Null: nothing changed. */
  readonly audited: Audited | null;
}

/** For an outcome that changed nothing. */
export function unchanged<Result>(result: Result): Changed<Result> {
  return { result, audited: null };
}

export interface Changes extends Pick<Catalogue, "record" | "audit"> {
  readonly change: <Result>(actor: Actor, work: (append: AppendEvent) => Changed<Result>) => Result;
}

const dayMs = 86_400_000;
/** How many entries one change may expire: a clock jump must not make a change slow. */
const agedAtOnceMax = 1000;

export function openChanges(session: SqliteSession): Changes {
  const { db, clock, limits } = session;
  const insertEvent = db.prepare("INSERT INTO events (kind, json, created_ms) VALUES (?, ?, ?) RETURNING seq");
  const dropEvents = db.prepare("DELETE FROM events WHERE seq <= ?");
  const selectMark = db.prepare("SELECT max(mark) AS mark FROM audit WHERE kind = ?");
  const insertEntry = db.prepare(
    `INSERT INTO audit (at_ms, kind, mark, author, token_kind, token_id, address, targets, target_count, facts)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id`,
  );
  const insertTarget = db.prepare("INSERT OR IGNORE INTO audit_targets (target, is_prefix, id) VALUES (?, ?, ?)");
  const dropByKind = db.prepare("DELETE FROM audit WHERE kind = ? AND mark <= ?");
  const dropByAge = db.prepare(
    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < ? ORDER BY at_ms LIMIT ?)",
  );

  const append: AppendEvent = (kind, payload) => {
    const seq = Number(insertEvent.get(kind, JSON.stringify(payload), clock.wallMs())?.["seq"]);
    dropEvents.run(seq - limits.events);
    return seq;
  };

  const writeEntry = (actor: Actor, { kind, targets, targetPrefixes = [], facts }: Audited): void => {
    const nowMs = clock.wallMs();
    // `mark` is the running count of the kind's targets, so the bound is one comparison.
    const mark = Number(selectMark.get(kind)?.["mark"] ?? 0) + Math.max(1, targets.length + targetPrefixes.length);
    const row = insertEntry.get(
      nowMs,
      kind,
      mark,
      actor.author,
      actor.token?.kind ?? null,
      actor.token?.id ?? null,
      actor.address ?? null,
      JSON.stringify(targets.slice(0, targetsToldMax)),
      targets.length,
      JSON.stringify(facts),
    );
    const id = Number(row?.["id"]);
    for (const target of targets) insertTarget.run(target, 0, id);
    for (const prefix of targetPrefixes) insertTarget.run(prefix, 1, id);
    dropByKind.run(kind, mark - limits.auditEntries);
    dropByAge.run(nowMs - limits.auditDays * dayMs, agedAtOnceMax);
  };

  const change: Changes["change"] = (actor, work) =>
    session.transaction(() => {
      const { result, audited } = work(append);
      if (audited !== null) writeEntry(actor, audited);
      return result;
    });

  return {
    change,
    record: async (actor, audited) => change(actor, () => ({ result: undefined, audited })),
    audit: async (query) => {
      const { where, values } = conditionsOf(query);
      const rows = db.prepare(`SELECT * FROM audit ${where} ORDER BY id DESC LIMIT ?`).all(...values, query.limit);
      return rows.map(entryOf);
    },
  };
}

function conditionsOf(query: AuditQuery): { where: string; values: SQLInputValue[] } {
  const conditions: string[] = [];
  const values: SQLInputValue[] = [];
  const add = (condition: string, ...its: SQLInputValue[]): void => {
    conditions.push(condition);
    values.push(...its);
  };
  if (query.name !== undefined) {
    add(
      `id IN (SELECT id FROM audit_targets WHERE is_prefix = 0 AND target = ?
        UNION SELECT id FROM audit_targets WHERE is_prefix = 1 AND target IN (SELECT value FROM json_each(?)))`,
      query.name,
      JSON.stringify(prefixesOf(query.name)),
    );
  }
  if (query.kind !== undefined) {
    add("kind IN (SELECT value FROM json_each(?))", JSON.stringify(namesOfAuditKind(query.kind)));
  }
  if (query.author !== undefined) add("author = ?", query.author);
  if (query.sinceMs !== undefined) add("at_ms >= ?", query.sinceMs);
  if (query.beforeId !== undefined) add("id < ?", query.beforeId);
  return { where: conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`, values };
}

/** All prefixes, including the empty one and the name itself. */
function prefixesOf(name: string): string[] {
  return Array.from({ length: name.length + 1 }, (_, length) => name.slice(0, length));
}

function entryOf(row: Record<string, SQLOutputValue>): AuditEntry {
  const text = (key: string): string | undefined => (row[key] === null ? undefined : String(row[key]));
  const kind = text("token_kind") as TokenKind | undefined;
  return {
    id: Number(row["id"]),
    atMs: Number(row["at_ms"]),
    kind: auditKindOf(String(row["kind"])) as AuditKind,
    author: String(row["author"]),
    token: kind === undefined ? undefined : { kind, id: String(row["token_id"]) },
    address: text("address"),
    targets: JSON.parse(String(row["targets"])) as string[],
    targetCount: Number(row["target_count"]),
    facts: JSON.parse(String(row["facts"])) as Record<string, AuditFact>,
  };
}

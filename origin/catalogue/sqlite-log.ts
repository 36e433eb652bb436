/** SQL for fleet versions and the event log. catalogue.ts documents the methods. */
import type { SQLOutputValue } from "node:sqlite";
import { purgeKindNames, purgeKinds } from "#purge/kinds.ts";
import { selectorsOf } from "#purge/purge-kind.ts";
import { secretEventKind } from "#secret/fleet-secret.ts";
import { holds } from "../precondition.ts";
import { type Audited, type AuditFact, targetsToldMax } from "./audit-entry.ts";
import type { Catalogue, EventKind, FeedEvent, FleetText, FleetVersion, PublishOutcome, Purge } from "./catalogue.ts";
import { type Changes, unchanged } from "./sqlite-change.ts";
import type { SqliteSession } from "./sqlite-session.ts";

type Row = Record<string, SQLOutputValue>;

type LogMethods = Pick<
  Catalogue,
  "fleet" | "fleetVersions" | "purge" | "announceSecret" | "feedBounds" | "eventsAfter"
>;

export interface LogTables extends LogMethods {
  readonly newestFleet: () => FleetText | undefined;
  /** The roster's tables need the log's, so `publishFleet` asks for the roster only when it is called. */
  readonly publishFleet: (
    text: string,
    change: Parameters<Catalogue["publishFleet"]>[1],
    summarize: (before: FleetText | undefined) => string,
  ) => Promise<PublishOutcome>;
}

export function openLogTables(session: SqliteSession, change: Changes["change"]): LogTables {
  const { db, clock, limits } = session;
  const selectEvents = db.prepare("SELECT seq, kind, json FROM events WHERE seq > ? ORDER BY seq LIMIT ?");
  const selectOldest = db.prepare("SELECT min(seq) AS seq FROM events");
  const selectLatest = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'events'");

  const fleetColumns = "version, author, created_ms, summary, from_version";
  const selectFleet = db.prepare(`SELECT ${fleetColumns}, text FROM fleet WHERE version = ?`);
  const selectNewestFleet = db.prepare(`SELECT ${fleetColumns}, text FROM fleet ORDER BY version DESC LIMIT 1`);
  const selectFleets = db.prepare(`SELECT ${fleetColumns} FROM fleet WHERE version < ? ORDER BY version DESC LIMIT ?`);
  const insertFleet = db.prepare(
    "INSERT INTO fleet (text, author, created_ms, summary, from_version) VALUES (?, ?, ?, ?, ?) RETURNING version",
  );
  const dropFleets = db.prepare("DELETE FROM fleet WHERE version <= ?");

  const newestFleet = (): FleetText | undefined => {
    const row = selectNewestFleet.get();
    return row === undefined ? undefined : fleetTextOf(row);
  };

  return {
    newestFleet,
    purge: async (purge, actor) =>
      change(actor, (append) => {
        const seq = append("purge", purge);
        return { result: seq, audited: auditedPurge(purge, seq) };
      }),
    announceSecret: async (id, actor) =>
      change(actor, (append) => {
        const seq = append(secretEventKind, { id });
        return { result: seq, audited: { kind: "secret-rotate", targets: [], facts: { id, seq } } };
      }),
    fleet: async (version) => {
      if (version === undefined) return newestFleet();
      const row = selectFleet.get(version);
      return row === undefined ? undefined : fleetTextOf(row);
    },
    fleetVersions: async (before, limit) => selectFleets.all(before, limit).map(fleetVersionOf),
    publishFleet: async (text, { actor, precondition, fromVersion, force }, summarize) =>
      change<PublishOutcome>(actor, (append) => {
        const before = newestFleet();
        const tag = before === undefined ? undefined : String(before.version);
        if (!holds(precondition, tag)) return unchanged({ outcome: "precondition-failed" });
        if (before?.text === text) return unchanged({ outcome: "unchanged", fleet: before });
        const { author } = actor;
        const createdMs = clock.wallMs();
        const summary = summarize(before);
        const row = insertFleet.get(text, author, createdMs, summary, fromVersion ?? null);
        const version = Number(row?.["version"]);
        dropFleets.run(version - limits.fleetVersions);
        append("fleet", { version });
        return {
          result: { outcome: "published", fleet: { version, author, createdMs, summary, fromVersion } },
          audited: {
            kind: fromVersion === undefined ? "fleet-apply" : "fleet-rollback",
            targets: [],
            facts: { version, versionBefore: before?.version, fromVersion, summary, force },
          },
        };
      }),
    feedBounds: async () => {
      const latestSeq = Number(selectLatest.get()?.["seq"] ?? 0);
      const oldest = selectOldest.get()?.["seq"] ?? null;
      return { latestSeq, oldestSeq: oldest === null ? latestSeq + 1 : Number(oldest) };
    },
    eventsAfter: async (seq, limit) => selectEvents.all(seq, limit).map(eventOf),
  };
}

function auditedPurge(purge: Purge, seq: number): Audited {
  const audited = purgeKindNames.map((name) => [name, purgeKinds[name].audited(selectorsOf(purge[name]))] as const);
  const facts = audited.map(([name, { fact }]): [string, AuditFact | undefined] => [
    name,
    typeof fact === "object" ? fact.slice(0, targetsToldMax) : fact,
  ]);
  return {
    kind: "purge",
    targets: audited.flatMap(([, { targets }]) => targets ?? []),
    targetPrefixes: [...new Set(audited.flatMap(([, { targetPrefixes }]) => targetPrefixes ?? []))],
    facts: { seq, ...Object.fromEntries(facts), soft: purge.soft },
  };
}

function eventOf(row: Row): FeedEvent {
  return { seq: Number(row["seq"]), kind: String(row["kind"]) as EventKind, json: String(row["json"]) };
}

function fleetVersionOf(row: Row): FleetVersion {
  return {
    version: Number(row["version"]),
    author: String(row["author"]),
    createdMs: Number(row["created_ms"]),
    summary: String(row["summary"]),
    fromVersion: row["from_version"] === null ? undefined : Number(row["from_version"]),
  };
}

function fleetTextOf(row: Row): FleetText {
  return { ...fleetVersionOf(row), text: String(row["text"]) };
}

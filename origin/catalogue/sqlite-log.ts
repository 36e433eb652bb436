/** The statements of fleet versions and of the event log. See catalogue.ts for what each method promises. */
import type { SQLOutputValue } from "node:sqlite";
import { secretEventKind } from "#fleet/secret.ts";
import { holds } from "../precondition.ts";
import type { Catalogue, EventKind, FeedEvent, FleetText, FleetVersion, PublishOutcome, Purge } from "./catalogue.ts";
import type { SqliteSession } from "./sqlite-session.ts";

type Row = Record<string, SQLOutputValue>;

/** Appends one event inside the running transaction. @returns its number */
export type AppendEvent = (
  kind: EventKind,
  payload: Purge | { version: number } | { id: string } | { revision: number },
) => number;

type LogMethods = Pick<
  Catalogue,
  "fleet" | "fleetVersions" | "purge" | "announceSecret" | "feedBounds" | "eventsAfter"
>;

export interface LogTables extends LogMethods {
  readonly append: AppendEvent;
  readonly newestFleet: () => FleetText | undefined;
  /** The roster's tables need the log's; so `publishFleet` asks for the roster when it is called. */
  readonly publishFleet: (
    text: string,
    change: Parameters<Catalogue["publishFleet"]>[1],
    summarize: (before: FleetText | undefined) => string,
  ) => Promise<PublishOutcome>;
}

export function openLogTables(session: SqliteSession): LogTables {
  const { db, clock, limits, transaction } = session;
  const insertEvent = db.prepare("INSERT INTO events (kind, json, created_ms) VALUES (?, ?, ?) RETURNING seq");
  const dropEvents = db.prepare("DELETE FROM events WHERE seq <= ?");
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

  const append: AppendEvent = (kind, payload) => {
    const seq = Number(insertEvent.get(kind, JSON.stringify(payload), clock.wallMs())?.["seq"]);
    dropEvents.run(seq - limits.events);
    return seq;
  };

  const newestFleet = (): FleetText | undefined => {
    const row = selectNewestFleet.get();
    return row === undefined ? undefined : fleetTextOf(row);
  };

  return {
    append,
    newestFleet,
    purge: async (purge) => transaction(() => append("purge", purge)),
    announceSecret: async (id) => transaction(() => append(secretEventKind, { id })),
    fleet: async (version) => {
      if (version === undefined) return newestFleet();
      const row = selectFleet.get(version);
      return row === undefined ? undefined : fleetTextOf(row);
    },
    fleetVersions: async (before, limit) => selectFleets.all(before, limit).map(fleetVersionOf),
    publishFleet: async (text, change, summarize) =>
      transaction(() => {
        const before = newestFleet();
        const tag = before === undefined ? undefined : String(before.version);
        if (!holds(change.precondition, tag)) return { outcome: "precondition-failed" };
        if (before?.text === text) return { outcome: "unchanged", fleet: before };
        const createdMs = clock.wallMs();
        const summary = summarize(before);
        const row = insertFleet.get(text, change.author, createdMs, summary, change.fromVersion ?? null);
        const version = Number(row?.["version"]);
        dropFleets.run(version - limits.fleetVersions);
        append("fleet", { version });
        return {
          outcome: "published",
          fleet: { version, author: change.author, createdMs, summary, fromVersion: change.fromVersion },
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

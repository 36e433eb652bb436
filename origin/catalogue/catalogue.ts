/**
 * The catalogue: the names, the blob of each of their versions, every fleet version, the roster, and the event log that
 * edges follow. Blobs contain the bytes; the catalogue contains everything else.
 *
 *   put ──▶ name 1 2 3 …  ──▶ blob        a change of a name and its purge event are ONE transaction: edges get
 *   delete, rollback ─▲                   an event for every change, and only for changes that happened
 *
 *   publish ──▶ fleet 1 2 3 …             so are each of these and its event
 *   join, drain, remove ──▶ roster
 *
 * Every change takes an Actor, and adds an entry to the audit log in the same transaction (audit-entry.ts).
 *
 * Invariants: the versions of a name count 1, 2, 3 … and never restart; a deletion is a version without bytes; a
 * rollback is a new version with the bytes of an old one. Events are numbered without gaps and never renumbered.
 *
 * sqlite.ts implements it. All methods are asynchronous, so that a remote database could be a second implementation.
 */
import type { Roster, RosterNode } from "#document/roster.ts";
import type { PictureFacts } from "#base/picture-facts.ts";
import type { PurgeSelectors } from "#purge/purge-request.ts";
import type { Precondition } from "../precondition.ts";
import type { TokenKind, TokenName } from "../token/token-kind.ts";
import type { Actor, Audited, AuditEntry, AuditQuery } from "./audit-entry.ts";

export interface BlobFacts extends PictureFacts {
  /** 64 hexadecimal digits, lower case. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

export type VersionReason = "put" | "delete" | "rollback";

export interface Version {
  readonly name: string;
  readonly version: number;
  /** Undefined: this version is a deletion. */
  readonly blob: BlobFacts | undefined;
  readonly author: string;
  readonly createdMs: number;
  readonly reason: VersionReason;
  /** For a rollback: the version that it brought back. */
  readonly fromVersion: number | undefined;
}

export type PutOutcome =
  /** `isNew`: the name did not exist. */
  | { outcome: "stored"; version: Version; isNew: boolean }
  /** The name already has these bytes: nothing was written, and there is no event. */
  | { outcome: "unchanged"; version: Version }
  | { outcome: "precondition-failed" };

export type DeleteOutcome =
  | { outcome: "deleted"; version: Version }
  | { outcome: "never-there" }
  | { outcome: "deleted-before" }
  | { outcome: "precondition-failed" };

export type RollbackOutcome =
  | { outcome: "rolled-back"; version: Version }
  | { outcome: "unchanged"; version: Version }
  | { outcome: "never-there" }
  /** The version is not kept, or there is no earlier one with bytes. */
  | { outcome: "no-such-version" }
  | { outcome: "version-is-deletion" };

/** What edges must drop; `soft` marks objects as stale instead. */
export interface Purge extends PurgeSelectors {
  readonly reason: VersionReason | "purge";
  /** The version that the one name in `names` now has. */
  readonly version?: number;
  readonly soft?: boolean;
}

export type EventKind = "purge" | "fleet" | "secret" | "roster" | "token";

export interface FeedEvent {
  readonly seq: number;
  readonly kind: EventKind;
  /** JSON of one line. */
  readonly json: string;
}

export interface FeedBounds {
  /** Number of the first event that is kept; latestSeq + 1 when none is. */
  readonly oldestSeq: number;
  /** 0 before the first event. */
  readonly latestSeq: number;
}

export interface FleetVersion {
  readonly version: number;
  readonly author: string;
  readonly createdMs: number;
  /** The changes from the previous version, in one line. */
  readonly summary: string;
  /** For a rollback: the version that it brought back. */
  readonly fromVersion: number | undefined;
}

export interface FleetText extends FleetVersion {
  readonly text: string;
}

export type PublishOutcome =
  | { outcome: "published"; fleet: FleetVersion }
  | { outcome: "unchanged"; fleet: FleetVersion }
  | { outcome: "precondition-failed" };

/** Adding a node starts it undrained, and removing it also removes its drain. */
export type RosterChange =
  | { readonly kind: "add"; readonly node: RosterNode }
  | { readonly kind: "remove" | "drain" | "undrain"; readonly name: string };

/** An accepted token; only its digest is stored. */
export interface TokenRecord extends TokenName {
  /** SHA-256, 64 hexadecimal digits. */
  readonly digest: string;
  readonly createdMs: number;
  /** Undefined: it is the current one of its kind. */
  readonly expiresMs: number | undefined;
  /** Edges may fetch it with an older one. */
  readonly isHandedOut: boolean;
}

/** The requester of a change, and its precondition. */
export interface Change {
  readonly actor: Actor;
  readonly precondition: Precondition;
}

/** A version that refers to a blob. */
export interface BlobUse {
  readonly name: string;
  readonly version: number;
  /** Whether it is the current version of the name. */
  readonly isCurrent: boolean;
}

export interface Catalogue {
  /** Random; created with the catalogue, and replaced when the file is a copy (a restored backup). */
  readonly originId: string;

  readonly blob: (sha256: string) => Promise<BlobFacts | undefined>;
  /** Blobs that a version refers to, in the order of their hashes, starting after `after`. */
  readonly blobsAfter: (after: string, limit: number) => Promise<readonly { sha256: string; sizeBytes: number }[]>;
  /** The number of these blobs, and their total size. */
  readonly blobTotals: (after: string) => Promise<{ count: number; sizeBytes: number }>;
  /** Current versions first. */
  readonly usesOfBlob: (sha256: string, limit: number) => Promise<readonly BlobUse[]>;
  /** The newest version of a name, even a deletion; or the version with that number. */
  readonly version: (name: string, version?: number) => Promise<Version | undefined>;
  /** All kept versions of a name, newest first. */
  readonly versions: (name: string) => Promise<readonly Version[]>;
  /** Newest versions of names that are not deleted, in byte order of the names, starting after `after`. */
  readonly list: (prefix: string, after: string, limit: number) => Promise<readonly Version[]>;

  /** The blob must be durable before this is called: when this resolves, the version is, too. */
  readonly put: (name: string, blob: BlobFacts, change: Change) => Promise<PutOutcome>;
  readonly remove: (name: string, change: Change) => Promise<DeleteOutcome>;
  /** @param version default: the newest earlier one that has bytes */
  readonly rollback: (name: string, version: number | undefined, actor: Actor) => Promise<RollbackOutcome>;
  /** @returns the number of the event */
  readonly purge: (purge: Purge, actor: Actor) => Promise<number>;
  /**
   * Appends the event that a new fleet secret is current; the log contains its id, never the secret.
   * @returns the number of the event
   */
  readonly announceSecret: (id: string, actor: Actor) => Promise<number>;
  /** Removes the blob's row unless a version refers to it. @returns whether the blob may be deleted */
  readonly forgetBlob: (sha256: string) => Promise<boolean>;

  /** The newest fleet version, or the one with that number. */
  readonly fleet: (version?: number) => Promise<FleetText | undefined>;
  /** Newest first, only those with a number below `before`. */
  readonly fleetVersions: (before: number, limit: number) => Promise<readonly FleetVersion[]>;
  /**
   * @param change `force` is only recorded in the audit log
   * @param summarize makes the line that says what changes. It sees the stored state inside the transaction; if it
   * throws, nothing is published.
   */
  readonly publishFleet: (
    text: string,
    change: Change & { fromVersion?: number; force?: boolean },
    summarize: (before: FleetText | undefined, roster: Roster) => string,
  ) => Promise<PublishOutcome>;

  /** Frozen; revision 0 before the first node joined. Nodes and names are in the order of their bytes. */
  readonly roster: () => Promise<Roster>;
  /**
   * Changes the roster and appends the event. `decide` runs inside the transaction and sees the current state; if it
   * returns null or throws, nothing changes.
   * @returns the roster after the change
   */
  readonly changeRoster: (
    actor: Actor,
    decide: (roster: Roster, fleet: FleetText | undefined) => RosterChange | null,
  ) => Promise<Roster>;

  /** Accepted and expired ones. */
  readonly tokens: () => Promise<readonly TokenRecord[]>;
  /** Records the first token of a kind, which the origin made or found itself: no audit entry, no event. */
  readonly adoptToken: (token: Pick<TokenRecord, "digest" | "kind" | "id">) => Promise<void>;
  /**
   * The token becomes the current one; previous ones are accepted until `olderExpireMs`, unless they expire earlier.
   */
  readonly replaceToken: (
    actor: Actor,
    token: Pick<TokenRecord, "digest" | "kind" | "id" | "isHandedOut">,
    olderExpireMs: number,
  ) => Promise<void>;
  /** Retires all but the current one. @returns how many of them were still accepted */
  readonly retireTokens: (actor: Actor, kind: TokenKind) => Promise<number>;

  /**
   * Writes an audit entry for a change outside the catalogue. Changes inside write theirs in the same transaction.
   */
  readonly record: (actor: Actor, audited: Audited) => Promise<void>;
  /** Newest first. */
  readonly audit: (query: AuditQuery) => Promise<readonly AuditEntry[]>;

  readonly feedBounds: () => Promise<FeedBounds>;
  /** Events with a greater number, in order. */
  readonly eventsAfter: (seq: number, limit: number) => Promise<readonly FeedEvent[]>;

  readonly close: () => Promise<void>;
}

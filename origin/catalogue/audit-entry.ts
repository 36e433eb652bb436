/**
 * The values of the audit log: who changed what, when, from where. The catalogue writes each entry in the same
 * transaction as the change itself (sqlite-change.ts), so there is no change without an entry and no entry without a
 * change.
 *
 * An entry never holds a token or a secret, only the id of a token.
 */
import type { AuditKind } from "#base/audit-kinds.ts";
import type { TokenName } from "../token/token-kind.ts";

/** The requester of a change. Every method that changes something takes an Actor, so a route can't forget it. */
export interface Actor {
  /** Undefined when no request caused the change, such as a token file replaced on the origin's machine. */
  readonly token: TokenName | undefined;
  /** As given in `Nearcast-Author`, at most 100 characters; it proves nothing. */
  readonly author: string;
  /** IP address of the client's end of the connection; undefined without a request. */
  readonly address: string | undefined;
}

/** What one change did. */
export interface Audited {
  readonly kind: AuditKind;
  /** Names under which `--name` finds the entry: pictures, nodes, hosts, tags. */
  readonly targets: readonly string[];
  /** Prefixes of names; the empty one covers every name. */
  readonly targetPrefixes?: readonly string[];
  /** The change: versions before and after, hashes, summaries. Small, without secrets; undefined is left out. */
  readonly facts: Readonly<Record<string, AuditFact | undefined>>;
}
export type AuditFact = string | number | boolean | readonly string[];

export interface AuditEntry extends Actor {
  /** Increases; a number is never used again. */
  readonly id: number;
  readonly atMs: number;
  readonly kind: AuditKind;
  /** The first targetsToldMax of them. */
  readonly targets: readonly string[];
  /** The total number of targets. */
  readonly targetCount: number;
  readonly facts: Readonly<Record<string, AuditFact>>;
}

/** Targets kept in the entry for people to read; `name` finds an entry by all of its targets. */
export const targetsToldMax = 20;

export interface AuditQuery {
  /** Exactly this target, or covered by one of its prefixes. */
  readonly name?: string | undefined;
  readonly kind?: AuditKind | undefined;
  readonly author?: string | undefined;
  readonly sinceMs?: number | undefined;
  /** Only entries with a smaller id: the next page. */
  readonly beforeId?: number | undefined;
  readonly limit: number;
}

/**
 * The connected nodes: one entry for each subscriber of the feed, and what it proved about itself.
 *
 *   open()        a subscriber: anonymous. An edge of a release before introductions stays so
 *   introduce()   a process of a node, proven by the fleet secret
 *   isUnproven    an introduction with an invalid proof arrived
 *
 * Bounded by the subscribers that the feed admits (limits.subscribersMax). Vocabularies are long and mostly identical,
 * so each distinct one is stored once.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type Introduction, type Presence, presenceIntervalMs } from "#follow/channel/messages.ts";
import type { Vocabulary } from "#document/vocabulary.ts";

/** One subscriber of the feed. */
export interface Connection {
  /** The nonce in its hello event. */
  readonly channel: string;
  readonly address: string;
  /** When it connected; monotonic, like `heardAtMs`. */
  readonly sinceMs: number;
  /** When it last sent a proven message; initially, when it connected. */
  heardAtMs: number;
  /** Undefined: it has not introduced itself. */
  introduction: Introduction | undefined;
  presence: Presence | undefined;
  /** The name that it gave with an invalid proof. */
  unprovenName: string | undefined;
  /** Writes an event to it. */
  readonly send: (bytes: Buffer) => void;
}

export type IntroducedConnection = Connection & { introduction: Introduction };

export interface ConnectedNodes {
  /** @returns the connection, which must be passed to close() when the subscriber is gone */
  readonly open: (subscriber: Pick<Connection, "address" | "send">) => Connection;
  readonly close: (connection: Connection) => void;
  readonly find: (channel: string) => Connection | undefined;
  /** @throws NearcastError OVERLOADED when too many releases introduce themselves */
  readonly introduce: (connection: Connection, introduction: Introduction) => void;
  readonly heard: (connection: Connection) => void;
  readonly all: () => readonly Connection[];
  /** Subscribers that introduced themselves and sent something recently, by node and process. */
  readonly introduced: () => readonly IntroducedConnection[];
  /** How many subscribers did not introduce themselves. */
  readonly anonymousCount: () => number;
  /**
   * Nodes that may be alive: connected now or a moment ago. "all" means unknown: the origin has just started, or
   * subscribers are connected that do not introduce themselves. A node that serves while it can't reach the origin is
   * not included.
   */
  readonly live: () => ReadonlySet<string> | "all";
}

/** An edge that lost its connection is back within 5 s, unless something else is wrong. */
const graceMs = 15_000;
/** A node that sends nothing for this long counts as gone, even if its connection is open. */
const silenceMsMax = 3 * presenceIntervalMs;
/** How many names of recently disconnected nodes are kept. */
const departedMax = 10_000;
/** Distinct vocabularies in use: more than the number of releases that ever run side by side. */
const vocabulariesMax = 32;
/** Vocabularies in use by nodes at one address, so that one address can't use all. */
const vocabulariesPerAddressMax = 4;

export function openConnectedNodes(clock: Clock): ConnectedNodes {
  const connections = new Map<string, Connection>();
  const departedAtMs = new Map<string, number>();
  const vocabularies = new Map<string, Vocabulary>();
  const startedAtMs = clock.monotonicMs();

  /** The shared copy of a vocabulary. */
  function shared(vocabulary: Vocabulary, by: Connection): Vocabulary {
    const digest = createHash("sha256").update(JSON.stringify(vocabulary)).digest("base64url");
    const known = vocabularies.get(digest);
    if (known !== undefined) return known;
    const others = [...connections.values()].filter((one) => one !== by && one.address === by.address);
    const inUse = new Set(others.flatMap(({ introduction }) => introduction?.understands ?? []));
    if (inUse.size >= vocabulariesPerAddressMax) {
      throw new NearcastError("OVERLOADED", "too many different releases are connected from this address");
    }
    if (vocabularies.size >= vocabulariesMax) {
      const used = new Set([...connections.values()].map(({ introduction }) => introduction?.understands));
      for (const [key, one] of vocabularies) if (!used.has(one)) vocabularies.delete(key);
    }
    if (vocabularies.size >= vocabulariesMax) {
      throw new NearcastError(
        "OVERLOADED",
        `nodes of ${vocabulariesMax} different releases are connected, the most that the origin accepts`,
      );
    }
    vocabularies.set(digest, vocabulary);
    return vocabulary;
  }

  const introduced = (): IntroducedConnection[] => {
    const nowMs = clock.monotonicMs();
    return [...connections.values()]
      .filter((one): one is IntroducedConnection => one.introduction !== undefined)
      .filter(({ heardAtMs }) => nowMs - heardAtMs <= silenceMsMax)
      .toSorted((one, other) => compare(keyOf(one), keyOf(other)));
  };

  const anonymousCount = (): number =>
    [...connections.values()].filter(({ introduction, unprovenName }) => !introduction && unprovenName === undefined)
      .length;

  return {
    open({ address, send }) {
      const channel = randomBytes(16).toString("base64url");
      const nowMs = clock.monotonicMs();
      const connection: Connection = {
        channel,
        address,
        send,
        sinceMs: nowMs,
        heardAtMs: nowMs,
        introduction: undefined,
        presence: undefined,
        unprovenName: undefined,
      };
      connections.set(channel, connection);
      return connection;
    },
    close(connection) {
      if (!connections.delete(connection.channel) || connection.introduction === undefined) return;
      const { node } = connection.introduction;
      departedAtMs.delete(node);
      departedAtMs.set(node, clock.monotonicMs());
      const [oldest] = departedAtMs.keys();
      if (departedAtMs.size > departedMax && oldest !== undefined) departedAtMs.delete(oldest);
    },
    find: (channel) => connections.get(channel),
    introduce(connection, introduction) {
      connection.introduction = { ...introduction, understands: shared(introduction.understands, connection) };
      connection.unprovenName = undefined;
      connection.heardAtMs = clock.monotonicMs();
    },
    heard(connection) {
      connection.heardAtMs = clock.monotonicMs();
    },
    all: () => [...connections.values()],
    introduced,
    anonymousCount,
    live() {
      const nowMs = clock.monotonicMs();
      if (nowMs - startedAtMs < graceMs || anonymousCount() > 0) return "all";
      const departed = [...departedAtMs].filter(([, atMs]) => nowMs - atMs < graceMs).map(([node]) => node);
      return new Set([...departed, ...introduced().map(({ introduction }) => introduction.node)]);
    },
  };
}

function keyOf({ introduction }: IntroducedConnection): string {
  return `${introduction.node}\0${String(introduction.process).padStart(2, "0")}`;
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}

/**
 * The parts of a fleet document that live nodes would not understand. Each node reports its vocabulary when it
 * introduces itself; a subscriber that does not is an edge of release 0.1.0, whose vocabulary is kept here.
 */
import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { type Fleet, fleetSchema } from "#document/document.ts";
import { unknownTo, type UnknownWord, type Vocabulary, vocabularyOf } from "#document/vocabulary.ts";
import { NearcastError } from "#base/errors.ts";
import type { FleetDanger } from "#review/dangers.ts";
import type { Connection, IntroducedConnection } from "./connections.ts";

/** The data about a subscriber that is used here. */
export type Understanding = Pick<Connection, "address" | "unprovenName"> & {
  readonly introduction: Pick<IntroducedConnection["introduction"], "node" | "understands"> | undefined;
};

/** Without the parts that belong to the connection, so that it can be passed to a thread. */
export function understandingOf({ address, unprovenName, introduction }: Connection): Understanding {
  if (introduction === undefined) return { address, unprovenName, introduction };
  const { node, understands } = introduction;
  return { address, unprovenName, introduction: { node, understands } };
}

export interface NotUnderstood extends UnknownWord {
  /** The node's name, or a description of it. */
  readonly node: string;
}

/**
 * The release before introductions. Generated once from its schema; a test checks that today's schema still has all of
 * it.
 */
export const firstRelease: Vocabulary = JSON.parse(
  readFileSync(new URL("./understood-by-0.1.0.json", import.meta.url), "utf8"),
) as Vocabulary;

/** How many problems are reported for one document. */
const wordsMax = 100;

/**
 * Empty when all live nodes understand the whole document; at most 100 words. Free while all nodes run this release.
 * @param text the document as published: nodes add their own defaults for what it omits
 * @param fleet the same document, parsed
 */
export function notUnderstood(
  text: string,
  fleet: Fleet,
  connected: readonly Understanding[],
): readonly NotUnderstood[] {
  const own = vocabularyOf(fleetSchema);
  const nodesByVocabulary = Map.groupBy(
    connected.map(({ introduction, unprovenName, address }) => ({
      name: introduction?.node ?? unprovenName ?? `the edge at ${address} (release 0.1.0, or unproven)`,
      understands: introduction?.understands ?? firstRelease,
    })),
    ({ understands }) => understands,
  );
  const found: NotUnderstood[] = [];
  let document: unknown;
  for (const [vocabulary, nodes] of nodesByVocabulary) {
    if (isSame(vocabulary, own)) continue;
    document ??= parse(text);
    const node = [...new Set(nodes.map(({ name }) => name))].join(", ");
    for (const word of wordsOf(vocabulary, document, fleet)) {
      found.push({ node, ...word });
      if (found.length === wordsMax) return found;
    }
  }
  return found;
}

/** The same as dangers: such a node would keep its current document and not follow newer ones. */
export function wordDangers(text: string, fleet: Fleet, connected: readonly Understanding[]): FleetDanger[] {
  return notUnderstood(text, fleet, connected).map(({ node, path, message }) => ({
    kind: "word",
    name: node,
    message: `${node} does not understand ${path}: ${message}; upgrade the node first`,
  }));
}

/** @throws NearcastError DANGEROUS_FLEET with `dangers` */
export function refuseUnknownWords(dangers: readonly FleetDanger[]): void {
  if (dangers.length === 0) return;
  throw new NearcastError(
    "DANGEROUS_FLEET",
    "live nodes would not understand this document; nothing was published (force=true publishes it anyway)",
    { facts: { dangers, dangerCount: dangers.length } },
  );
}

function* wordsOf(vocabulary: Vocabulary, document: unknown, fleet: Fleet): Generator<UnknownWord> {
  yield* unknownTo(vocabulary, document, fleetSchema);
  // A zone file is one string in the document; its records were parsed into the fleet.
  const types = vocabulary["zones[].records[].type"]?.values ?? [];
  for (const [index, zone] of fleet.zones.entries()) {
    const unknown = new Set(zone.records.map(({ type }) => type).filter((type) => !types.includes(type)));
    for (const type of unknown) yield { path: `zones[${index}]`, message: `has records of type ${type}` };
  }
}

function isSame(one: Vocabulary, other: Vocabulary): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

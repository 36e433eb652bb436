/**
 * Parses a node's status. Anyone who holds the edge token can answer as any node, so every answer is checked before any
 * of it is shown: an invalid one affects only its own line. A node of another release may send fewer fields, or more,
 * which are ignored.
 */
import { check, problemLines } from "#base/schema.ts";
import { type Static, type TSchema, Type } from "typebox";
import type { Reply, Way } from "./ask-nodes.ts";

/** Rows of the nodes table and the sites table: five times what fits into one answer over the origin. */
const rowsMax = 10_000;

const said = <Schema extends TSchema>(schema: Schema) => Type.Optional(Type.Union([schema, Type.Null()]));
/** Names, states, addresses: the longest is a DNS name. */
const word = said(Type.String({ maxLength: 255 }));
/** Addresses of a site: 16 for each of 256 nodes, and its own. */
const words = said(Type.Array(Type.String({ maxLength: 255 }), { maxItems: 5000 }));
/** Text for people. */
const sentence = Type.String({ maxLength: 4096 });
const amount = said(Type.Number());
const flag = said(Type.Boolean());

const seenNode = Type.Object({
  name: word,
  state: word,
  reason: said(sentence),
  requestsPerSecond: amount,
  loopDelayMs: amount,
  rendersWaiting: amount,
  release: word,
  fleetVersion: amount,
  feedSeq: amount,
  announced: words,
  certificateExpires: word,
});

const seenSite = Type.Object({
  name: word,
  state: word,
  reason: said(sentence),
  place: said(
    Type.Object({
      city: word,
      latitude: said(Type.Number({ minimum: -90, maximum: 90 })),
      longitude: said(Type.Number({ minimum: -180, maximum: 180 })),
    }),
  ),
  pressure: amount,
  requestsPerSecond: amount,
  keptShare: amount,
  addresses: words,
  nodes: said(Type.Array(seenNode, { maxItems: rowsMax })),
});
export type SeenSite = Static<typeof seenSite>;

const tier = said(Type.Object({ bytes: amount }));
const nodeStatus = Type.Object({
  node: word,
  site: word,
  process: said(Type.Object({ index: said(Type.Integer({ minimum: 0, maximum: 63 })) })),
  ready: flag,
  unready: said(Type.Array(sentence, { maxItems: 100 })),
  presence: word,
  standing: word,
  fleetVersion: amount,
  fleetSecret: word,
  originToken: said(Type.Object({ warning: said(sentence) })),
  feed: said(Type.Object({ state: word, position: said(Type.Object({ seq: amount })), warning: said(sentence) })),
  isIsolated: flag,
  announce: said(Type.Object({ session: word, announced: words, isShuttingDown: flag, reason: said(sentence) })),
  cache: said(Type.Object({ memory: tier, disk: tier })),
  tls: said(
    Type.Object({
      certificates: amount,
      nextExpiry: word,
      problems: said(Type.Array(sentence, { maxItems: 100 })),
      hostsWithout: said(Type.Array(Type.String({ maxLength: 255 }), { maxItems: 100 })),
    }),
  ),
  redirectingWithoutHttps: said(Type.Array(Type.String({ maxLength: 255 }), { maxItems: 100 })),
  lanes: said(Type.Object({ absent: said(sentence) })),
  decoders: said(Type.Object({ sandbox: word, sandboxReason: said(sentence) })),
  sites: said(Type.Array(seenSite, { maxItems: rowsMax })),
});
export type NodeStatus = Static<typeof nodeStatus>;

/** What one node, or one of its processes, reported about itself and the fleet; or why that is unknown. */
export type Witness = Omit<Reply, "answer"> & {
  answer:
    | { outcome: "answered"; body: Record<string, unknown>; status: NodeStatus }
    /** `kind`: as in a reply, or `malformed`. */
    | { outcome: "failed"; kind: string; reason: string };
};

/**
 * @param way a node asked at an admin listener that the operator named is shown under the name that it reports; over
 * the origin, under the name that it gave the origin
 */
export function witnessOf({ answer, ...about }: Reply, way: Way): Witness {
  if (answer.outcome === "failed") return { ...about, answer };
  const read = readStatus(answer.body);
  if ("reason" in read) return { ...about, answer: { outcome: "failed", kind: "malformed", reason: read.reason } };
  const { status } = read;
  const name = (way === "admin" ? ownName(status) : undefined) ?? about.name;
  return { ...about, name, answer: { outcome: "answered", body: answer.body, status } };
}

function ownName({ node, process }: NodeStatus): string | undefined {
  const index = process?.index ?? 0;
  return node === undefined || node === null ? undefined : `${node}${index > 0 ? `.${index}` : ""}`;
}

function readStatus(body: Record<string, unknown>): { status: NodeStatus } | { reason: string } {
  const checked = check(nodeStatus, body);
  if (!checked.ok) {
    const [first = "?"] = problemLines(checked.problems);
    return { reason: `its answer can't be read: ${first}` };
  }
  const nodes = (checked.value.sites ?? []).reduce((sum, site) => sum + (site.nodes?.length ?? 0), 0);
  if (nodes > rowsMax) return { reason: `its answer lists ${nodes} nodes; at most ${rowsMax} are allowed` };
  return { status: checked.value };
}

/**
 * A compiled zone: what look-up walks and answers are written from. Immutable; made by compile.ts, whole, and
 * replaced whole.
 *
 *   ZoneIndex ──longest apex──▶ CompiledZone ──label by label──▶ ZoneNode ──type──▶ RRset
 */
import type { WireName } from "../wire/name.ts";
import type { NameTree } from "./name-tree.ts";
import type { RRset } from "./rrset.ts";

/** Where a name leads inside a zone. These objects are made once each, so that a look-up makes none. */
export type Found =
  | { readonly kind: "node"; readonly node: ZoneNode }
  /** The name is not there; `node` is the wildcard that stands for it (RFC 4592). */
  | { readonly kind: "wildcard"; readonly node: ZoneNode }
  /** At or below a delegation to other servers. */
  | { readonly kind: "delegation"; readonly delegation: Delegation }
  | { readonly kind: "missing" };

export interface Delegation {
  readonly nameservers: RRset;
  /** Addresses of those nameservers that lie in this zone, owners written out. */
  readonly glue: readonly RRset[];
  /** Length on the wire of the delegated name. */
  readonly cutLength: number;
  /** The node at the cut itself, where a DS question is still ours (RFC 4035 §3.1.4.1). */
  readonly node: ZoneNode;
}

export interface Alias {
  readonly set: RRset;
  readonly target: WireName;
}

export interface ZoneNode {
  /** All RRsets of the node but an alias. An empty non-terminal has none. */
  readonly sets: Map<number, RRset>;
  alias: Alias | undefined;
  /** Index of the steered name in the fleet document, or -1: A and AAAA of this node are chosen per client. */
  steeredIndex: number;
  foundHere: Found;
  foundByWildcard: Found;
  delegation: (Found & { kind: "delegation" }) | undefined;
}

export interface CompiledZone {
  readonly apex: WireName;
  /** For people, without the final dot. */
  readonly apexText: string;
  readonly tree: NameTree<ZoneNode>;
  /** The SOA with the TTL of a negative answer: the lesser of its TTL and its MINIMUM (RFC 2308 §5). */
  readonly negativeSoa: RRset;
  /** The answer to ANY, RFC 8482. */
  readonly minimalAny: RRset;
}

export type ZoneIndex = NameTree<{ zone: CompiledZone | undefined }>;

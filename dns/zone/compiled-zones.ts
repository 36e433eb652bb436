/**
 * All zones of a fleet document, compiled to flat arrays of numbers in shared memory. Made by compile.ts, whole, and
 * replaced whole; only ever read afterwards, by any number of threads at once. It is handed from one thread to
 * another without a copy, and the garbage collector sees nine objects, however many records there are.
 *
 *   name ─labels, from the right─▶ table ─▶ nodes ─▶ sets ─▶ bytes     what is copied into an answer
 *                                    │                  └──▶ slots     where in it two octets are a pointer
 *                                    └ a hash of (parent node, label), open addressing, at most half full
 *
 * One tree holds all zones, from the DNS root down; its nodes are names. A node that only lies between others is an
 * empty non-terminal and exists (RFC 4592 §2.2.2). A zone begins at a node with the flag `isApex` and ends where the
 * next one begins. What a zone says about names at or below a zone inside it is not there, but for a DS at that
 * zone's apex, which is the outer one's to say (RFC 4035 §2.4).
 *
 * An RRset is the bytes that go into an answer, made once:
 *
 *   owner │ type class ttl │ rdlength rdata     owner │ type class …
 *   ^^ two octets, filled with a pointer per answer ^^       or the name itself, in glue
 *
 * and, in rdata that may be compressed (RFC 3597 §4: only types of RFC 1035), two octets where the rest of a name is
 * the zone's apex. Every answer repeats a question that lies in its zone, so the apex always stands inside the
 * question: names of the zone shrink to their own labels and a pointer that depends on the question's length only.
 */
export interface CompiledZones {
  /** Node + 1, or 0 for an empty place; a power of two long. */
  readonly table: Int32Array;
  /** `nodeWords` numbers a node; node 0 is the DNS root. */
  readonly nodes: Int32Array;
  /** `setWords` numbers an RRset; those of one node follow each other. */
  readonly sets: Int32Array;
  /** Offsets in a block: of all its owner pointers, then of all its apex pointers. */
  readonly slots: Uint16Array;
  /** Labels (length octet and lower-case bytes), targets of aliases, blocks. */
  readonly bytes: Uint8Array;
  /** `zoneWords` numbers a zone. */
  readonly zones: Int32Array;
  /** `delegationWords` numbers a delegation. */
  readonly delegations: Int32Array;
  /** `hintWords` numbers a record, of RRsets whose address hints are chosen per client. */
  readonly hints: Int32Array;
  /** For people: each zone's apex without the final dot. */
  readonly zoneNames: readonly string[];
}

/** What finding a name needs. */
export type NameTable = Pick<CompiledZones, "table" | "nodes" | "bytes">;

export const nodeWords = 8;
export const nodeParent = 0;
/** Where in `bytes` the label stands. */
export const nodeLabelAt = 1;
/** Bits of `node…` below, and above them the number of RRsets. */
export const nodeFlags = 2;
export const nodeFirstSet = 3;
/** The zone that begins here, or the delegation; only with the flag that says so. */
export const nodeExtra = 4;
/** Index of the steered name in the fleet document whose addresses are this node's A and AAAA, or -1. */
export const nodeSteered = 5;
/** The most that the TTL of a steered answer may be here: an ALIAS may say less than the steered name. */
export const nodeTtlMax = 6;
/** The RRset of a CNAME, or of a DNAME; only with the flag that says so. */
export const nodeAlias = 7;

export const isApex = 1;
/** Has NS records of other servers: at it and below it we only refer (RFC 1034 §4.2.1). */
export const isCut = 2;
/** Names below it are other names (RFC 6672). */
export const hasDname = 4;
export const hasCname = 8;
/** Has a child named `*`. */
export const hasWildcard = 16;
export const flagBits = 5;

export const setWords = 8;
export const setType = 0;
export const setTtl = 1;
export const setCount = 2;
export const setBlockAt = 3;
/** May be more than any message holds; then there is no block. */
export const setBlockLength = 4;
export const setSlotsAt = 5;
/** Number of apex pointers × 2, and 1 when owners are pointers: then there is one for each record. */
export const setSlotCounts = 6;
/** CNAME and DNAME: where in `bytes` the target's whole name stands. Hints: the first record's in `hints`. Else -1. */
export const setExtra = 7;

export const zoneWords = 4;
export const zoneApexLength = 0;
/** The SOA with the TTL of a negative answer: the lesser of its TTL and its MINIMUM (RFC 2308 §5). */
export const zoneNegativeSoa = 1;
/** The answer to ANY (RFC 8482). */
export const zoneMinimalAny = 2;
export const zoneApexLabels = 3;

export const delegationWords = 4;
export const delegationNameservers = 0;
/** Addresses of those nameservers that lie in this zone, owners written out: so many RRsets, one after another. */
export const delegationGlue = 1;
export const delegationGlueCount = 2;
/** Length on the wire of the delegated name. */
export const delegationCutLength = 3;

/** An HTTPS or SVCB record: its block has no hints, they go in at two places when its target is steered. */
export const hintWords = 5;
/** From the block's begin to the record's owner. */
export const hintRecordAt = 0;
export const hintRdataLength = 1;
/** Offset in rdata of `ipv4hint`, and of `ipv6hint`. */
export const hintIpv4At = 2;
export const hintIpv6At = 3;
/** Index of the steered name, or -1: this record is whole as it stands. */
export const hintSteered = 4;

/** HTTPS and SVCB records of one RRset with a steered target, at most: each costs two decisions per answer. */
export const steeredHintsMax = 16;

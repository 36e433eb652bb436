/**
 * All zones of a fleet document, compiled to flat arrays of numbers in shared memory. compile.ts builds the value as a
 * whole, and it is replaced as a whole; afterwards any number of threads read it and none writes it. It is passed
 * between threads without a copy, and the garbage collector sees nine objects, however many records there are.
 *
 *   name ─labels, from the right─▶ table ─▶ nodes ─▶ sets ─▶ bytes     copied into an answer
 *                                    │                  └──▶ slots     where two octets of it are a pointer
 *                                    └ a hash of (parent node, label), open addressing, at most half full
 *
 * One tree holds all zones, from the DNS root down. Its nodes are names. A node without records, above others, is an
 * empty non-terminal and exists (RFC 4592 §2.2.2). A zone begins at a node with the flag `isApex` and ends where the
 * next one begins. Records of a zone at or below the apex of a zone inside it are left out, except a DS at that apex,
 * which belongs to the outer zone (RFC 4035 §2.4).
 *
 * An RRset is stored as the bytes that go into an answer:
 *
 *   owner │ type class ttl │ rdlength rdata     owner │ type class …
 *   ^^ two octets, filled with a pointer per answer ^^       or the whole name, in glue
 *
 * and, in rdata that may be compressed (RFC 3597 §4: only types of RFC 1035), two octets in place of the zone's apex at
 * the end of a name. Every answer repeats a question that lies in its zone, so the question always contains the apex:
 * names of the zone shrink to their own labels and a pointer that depends only on the question's length.
 */
export interface CompiledZones {
  /** Node + 1, or 0 for an empty entry. The length is a power of two. */
  readonly table: Int32Array;
  /** `nodeWords` numbers per node. Node 0 is the DNS root. */
  readonly nodes: Int32Array;
  /** `setWords` numbers per RRset. The RRsets of a node are adjacent. */
  readonly sets: Int32Array;
  /** Offsets in a block: first of all its owner pointers, then of all its apex pointers. */
  readonly slots: Uint16Array;
  /** Labels (length octet and lower-case bytes), targets of aliases, blocks. */
  readonly bytes: Uint8Array;
  /** `zoneWords` numbers per zone. */
  readonly zones: Int32Array;
  /** `delegationWords` numbers per delegation. */
  readonly delegations: Int32Array;
  /** `hintWords` numbers per record of RRsets whose address hints are chosen per client. */
  readonly hints: Int32Array;
  /** For people: each zone's apex without the final dot. */
  readonly zoneNames: readonly string[];
}

/** The parts that a lookup of a name needs. */
export type NameTable = Pick<CompiledZones, "table" | "nodes" | "bytes">;

export const nodeWords = 8;
export const nodeParent = 0;
/** Offset of the label in `bytes`. */
export const nodeLabelAt = 1;
/** The flags below, and in the higher bits the number of RRsets. */
export const nodeFlags = 2;
export const nodeFirstSet = 3;
/** The zone that begins here, or the delegation; valid only with the corresponding flag. */
export const nodeExtra = 4;
/** Index of the steered name in the fleet document whose addresses are this node's A and AAAA, or -1. */
export const nodeSteered = 5;
/** Maximum TTL of a steered answer here: an ALIAS may have a lower TTL than the steered name. */
export const nodeTtlMax = 6;
/** The RRset of a CNAME or a DNAME; valid only with the corresponding flag. */
export const nodeAlias = 7;

export const isApex = 1;
/** Has NS records of other servers: queries at or below it get only a referral (RFC 1034 §4.2.1). */
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
/** May exceed what any message can hold; then there is no block. */
export const setBlockLength = 4;
export const setSlotsAt = 5;
/** Number of apex pointers × 2, plus 1 if owners are pointers; then each record has one. */
export const setSlotCounts = 6;
/**
 * CNAME and DNAME: offset of the target's whole name in `bytes`. With hints: the first record's entry in `hints`.
 * Otherwise -1.
 */
export const setExtra = 7;

export const zoneWords = 4;
export const zoneApexLength = 0;
/** The SOA with the TTL of a negative answer: the smaller of its TTL and its MINIMUM (RFC 2308 §5). */
export const zoneNegativeSoa = 1;
/** The answer to ANY (RFC 8482). */
export const zoneMinimalAny = 2;
export const zoneApexLabels = 3;

export const delegationWords = 4;
export const delegationNameservers = 0;
/** First of the adjacent RRsets with the addresses of the nameservers in this zone; their owners are whole names. */
export const delegationGlue = 1;
export const delegationGlueCount = 2;
/** Length of the delegated name in wire format. */
export const delegationCutLength = 3;

/** An HTTPS or SVCB record. If its target is steered, its block has no hints, and they are inserted at two offsets. */
export const hintWords = 5;
/** Offset of the record's owner from the start of the block. */
export const hintRecordAt = 0;
export const hintRdataLength = 1;
/** Offset in rdata of `ipv4hint`, and of `ipv6hint`. */
export const hintIpv4At = 2;
export const hintIpv6At = 3;
/** Index of the steered name, or -1 if the record is complete without hints. */
export const hintSteered = 4;

/** Maximum number of HTTPS and SVCB records with a steered target per RRset: each costs two decisions per answer. */
export const steeredHintsMax = 16;

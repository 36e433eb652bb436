/**
 * Writes small MaxMind DB files (format 2.0) for tests: networks to records, as the publishers' writers lay them out:
 * equal records stand once, and every key after its first use is a pointer to it.
 */
import assert from "node:assert/strict";
import { bitAt, parsePrefix } from "../../../dns/wire/address.ts";

/** A number is written as an unsigned integer where it is one, else as a double; `float` has 32 bits. */
export type MmdbValue =
  string | number | boolean | { readonly float: number } | readonly MmdbValue[] | { readonly [key: string]: MmdbValue };

export interface MmdbContent {
  readonly ipVersion: 4 | 6;
  readonly databaseType: string;
  /** Later ones overwrite; one below another cuts it in parts. */
  readonly records: Readonly<Record<string, MmdbValue>>;
  readonly recordSize?: 24 | 28 | 32;
  /** Lets 6to4, Teredo and mapped addresses lead to the IPv4 part of an IPv6 tree. */
  readonly hasAliases?: boolean;
  readonly metadata?: Readonly<Record<string, MmdbValue>>;
}

/** Offset of a record in the data, or a node of the tree, or nothing. */
type Side = number | Tree | undefined;
interface Tree {
  readonly sides: [Side, Side];
}

/** Where IPv4 stands in an IPv6 tree: ::/96. */
const ipv4Bits: readonly number[] = Array.from({ length: 96 }, () => 0);
const aliasedBits: readonly (readonly number[])[] = [
  bitsOfPrefix("2002::/16"),
  bitsOfPrefix("2001::/32"),
  [...ipv4Bits.slice(16), ...Array.from({ length: 16 }, () => 1)],
];

export function writeMmdb(content: MmdbContent): Buffer {
  const { ipVersion, databaseType, records, recordSize = 24, hasAliases = false, metadata = {} } = content;
  const data = createDataWriter();
  const root: Tree = { sides: [undefined, undefined] };
  for (const [text, value] of Object.entries(records)) {
    const bits = bitsOfPrefix(text);
    const isIpv4 = !text.includes(":");
    insert(root, isIpv4 && ipVersion === 6 ? [...ipv4Bits, ...bits] : bits, data.record(value));
  }
  if (hasAliases) {
    const ipv4 = ipv4Bits.reduce<Side>((side) => (typeof side === "object" ? side.sides[0] : undefined), root);
    for (const bits of aliasedBits) insert(root, bits, ipv4);
  }

  const numbers = new Map<Tree, number>();
  const number = (tree: Tree): void => {
    if (numbers.has(tree)) return;
    numbers.set(tree, numbers.size);
    for (const side of tree.sides) if (typeof side === "object") number(side);
  };
  number(root);
  const nodeCount = numbers.size;
  const recordFor = (side: Side): number => {
    if (side === undefined) return nodeCount;
    return typeof side === "object" ? (numbers.get(side) ?? 0) : nodeCount + 16 + side;
  };
  const nodeLength = recordSize / 4;
  const tree = Buffer.alloc(nodeCount * nodeLength);
  for (const [{ sides }, index] of numbers) {
    const [zero, one] = [recordFor(sides[0]), recordFor(sides[1])];
    const at = index * nodeLength;
    if (recordSize === 28) {
      tree.writeUIntBE(zero & 0xff_ffff, at, 3);
      tree[at + 3] = ((zero >>> 24) << 4) | (one >>> 24);
      tree.writeUIntBE(one & 0xff_ffff, at + 4, 3);
    } else {
      tree.writeUIntBE(zero, at, nodeLength / 2);
      tree.writeUIntBE(one, at + nodeLength / 2, nodeLength / 2);
    }
  }
  return assembleMmdb({
    tree,
    nodeCount,
    data: Buffer.concat(data.parts),
    databaseType,
    ipVersion,
    recordSize,
    metadata,
  });
}

export interface MmdbParts extends Pick<MmdbContent, "databaseType" | "ipVersion" | "recordSize" | "metadata"> {
  readonly tree: Buffer;
  readonly nodeCount: number;
  readonly data: Buffer;
}

/** Puts a file together, whatever its parts are. */
export function assembleMmdb(parts: MmdbParts): Buffer {
  const { tree, nodeCount, data, databaseType, ipVersion, recordSize = 24, metadata = {} } = parts;
  const facts = {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_767_225_600,
    database_type: databaseType,
    description: {},
    ip_version: ipVersion,
    node_count: nodeCount,
    record_size: recordSize,
    ...metadata,
  };
  const marker = Buffer.from("abcdef4d61784d696e642e636f6d", "hex");
  return Buffer.concat([tree, Buffer.alloc(16), data, marker, encode(facts)]);
}

/** A pointer to this offset of the data, in its shortest form. */
export function encodePointer(offset: number): Buffer {
  if (offset < 2048) return Buffer.from([0x20 | (offset >> 8), offset & 0xff]);
  if (offset < 526_336) {
    const rest = offset - 2048;
    return Buffer.from([0x28 | (rest >> 16), (rest >> 8) & 0xff, rest & 0xff]);
  }
  if (offset < 134_744_064) {
    const rest = offset - 526_336;
    return Buffer.from([0x30 | (rest >> 24), (rest >> 16) & 0xff, (rest >> 8) & 0xff, rest & 0xff]);
  }
  const bytes = Buffer.from([0x38, 0, 0, 0, 0]);
  bytes.writeUInt32BE(offset, 1);
  return bytes;
}

function bitsOfPrefix(text: string): number[] {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return Array.from({ length: prefix.prefixLength }, (_, i) => bitAt(prefix.address, i));
  throw new Error(`${text} is no prefix`);
}

function insert(root: Tree, bits: readonly number[], side: Side): void {
  let tree = root;
  bits.forEach((bit, index) => {
    const which = bit === 0 ? 0 : 1;
    if (index === bits.length - 1) {
      tree.sides[which] = side;
      return;
    }
    const next = tree.sides[which];
    // A shorter network that was there before is cut in two.
    tree = typeof next === "object" ? next : (tree.sides[which] = { sides: [next, next] });
  });
}

/** Encodes records behind one another, each once. */
function createDataWriter(): { readonly parts: Buffer[]; record: (value: MmdbValue) => number } {
  const parts: Buffer[] = [];
  const known = new Map<string, number>();
  const keys = new Map<string, number>();
  let length = 0;
  return {
    parts,
    record(value) {
      const text = JSON.stringify(value);
      const before = known.get(text);
      if (before !== undefined) return before;
      const at = length;
      known.set(text, at);
      const bytes = encode(value, keys, at);
      parts.push(bytes);
      length += bytes.length;
      return at;
    },
  };
}

function head(type: number, size: number): Buffer {
  const first = type > 7 ? 0 : type << 5;
  const extended = type > 7 ? [type - 7] : [];
  if (size < 29) return Buffer.from([first | size, ...extended]);
  if (size < 285) return Buffer.from([first | 29, ...extended, size - 29]);
  assert.ok(size < 65_821, "a value of that size is not needed in tests");
  return Buffer.from([first | 30, ...extended, (size - 285) >> 8, (size - 285) & 0xff]);
}

/**
 * @param keys offsets of the keys that stand in the data already; absent: every key is written out
 * @param at where in the data the value will stand
 */
function encode(value: MmdbValue, keys?: Map<string, number>, at = 0): Buffer {
  if (typeof value === "string") {
    const bytes = Buffer.from(value);
    return Buffer.concat([head(2, bytes.length), bytes]);
  }
  if (typeof value === "boolean") return head(14, value ? 1 : 0);
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    if (Number.isInteger(value) && value >= 0) {
      bytes.writeUInt32BE(value);
      return Buffer.concat([head(6, 4), bytes.subarray(0, 4)]);
    }
    bytes.writeDoubleBE(value);
    return Buffer.concat([head(3, 8), bytes]);
  }
  if (isList(value)) {
    const parts = [head(11, value.length)];
    let here = at + lengthOf(parts);
    for (const one of value) {
      parts.push(encode(one, keys, here));
      here = at + lengthOf(parts);
    }
    return Buffer.concat(parts);
  }
  if ("float" in value && typeof value["float"] === "number") {
    const bytes = Buffer.alloc(4);
    bytes.writeFloatBE(value["float"]);
    return Buffer.concat([head(15, 4), bytes]);
  }
  const entries = Object.entries(value);
  const parts = [head(7, entries.length)];
  for (const [key, one] of entries) {
    const before = keys?.get(key);
    if (before === undefined) {
      keys?.set(key, at + lengthOf(parts));
      parts.push(encode(key));
    } else parts.push(encodePointer(before));
    parts.push(encode(one, keys, at + lengthOf(parts)));
  }
  return Buffer.concat(parts);
}

function isList(value: MmdbValue): value is readonly MmdbValue[] {
  return Array.isArray(value);
}

function lengthOf(parts: readonly Buffer[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

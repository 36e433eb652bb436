/** Writes small MaxMind DB files (format 2.0, 24-bit records) for tests: prefixes of one family to records. */
import { bitAt, parsePrefix } from "../../../dns/wire/address.ts";

type Value = string | number | { readonly [key: string]: Value };

export interface MmdbContent {
  readonly ipVersion: 4 | 6;
  readonly databaseType: string;
  readonly records: Readonly<Record<string, Value>>;
  readonly metadata?: Readonly<Record<string, Value>>;
}

type Tree = { zero: Tree | Value | undefined; one: Tree | Value | undefined; isTree: true };

export function writeMmdb({ ipVersion, databaseType, records, metadata = {} }: MmdbContent): Buffer {
  const root: Tree = { zero: undefined, one: undefined, isTree: true };
  for (const [text, value] of Object.entries(records)) {
    const prefix = parsePrefix(text);
    if (prefix === undefined) throw new Error(`${text} is no prefix`);
    const { address, prefixLength } = prefix;
    // IPv4 stands in ::/96 of an IPv6 tree.
    const zeros = ipVersion === 6 && address.family === 4 ? 96 : 0;
    let tree = root;
    for (let index = 0; index < zeros + prefixLength; index++) {
      const side = index < zeros || bitAt(address, index - zeros) === 0 ? "zero" : "one";
      if (index === zeros + prefixLength - 1) tree[side] = value;
      else {
        const next = tree[side];
        tree = isTree(next) ? next : (tree[side] = { zero: undefined, one: undefined, isTree: true });
      }
    }
  }

  const nodes: Tree[] = [];
  const number = (tree: Tree): void => {
    nodes.push(tree);
    for (const side of [tree.zero, tree.one]) if (isTree(side)) number(side);
  };
  number(root);
  const data: Buffer[] = [];
  let dataLength = 0;
  const pointer = (side: Tree | Value | undefined): number => {
    if (side === undefined) return nodes.length;
    if (isTree(side)) return nodes.indexOf(side);
    const bytes = encode(side);
    const at = nodes.length + 16 + dataLength;
    data.push(bytes);
    dataLength += bytes.length;
    return at;
  };
  const tree = Buffer.alloc(nodes.length * 6);
  nodes.forEach((node, index) => {
    tree.writeUIntBE(pointer(node.zero), index * 6, 3);
    tree.writeUIntBE(pointer(node.one), index * 6 + 3, 3);
  });
  const facts = {
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_767_225_600,
    database_type: databaseType,
    description: {},
    ip_version: ipVersion,
    node_count: nodes.length,
    record_size: 24,
    ...metadata,
  };
  const marker = Buffer.from("abcdef4d61784d696e642e636f6d", "hex");
  return Buffer.concat([tree, Buffer.alloc(16), ...data, marker, encode(facts)]);
}

function isTree(value: Tree | Value | undefined): value is Tree {
  return typeof value === "object" && "isTree" in value && value.isTree === true;
}

function encode(value: Value): Buffer {
  if (typeof value === "string") {
    const bytes = Buffer.from(value);
    if (bytes.length > 28) return Buffer.concat([Buffer.from([0x40 | 29, bytes.length - 29]), bytes]);
    return Buffer.concat([Buffer.from([0x40 | bytes.length]), bytes]);
  }
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return Buffer.concat([Buffer.from([0xc4]), bytes]);
  }
  if (typeof value === "number") {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    return Buffer.concat([Buffer.from([0x68]), bytes]);
  }
  const entries = Object.entries(value);
  return Buffer.concat([
    Buffer.from([0xe0 | entries.length]),
    ...entries.flatMap(([key, one]) => [encode(key), encode(one)]),
  ]);
}

/**
 * Decodes the Huffman code of HPACK (RFC 7541 §5.2 and Appendix B), four bits at a time. Pure, and linear.
 *
 *   state (a node of the code's tree) + four bits ─▶ next state, and at most one symbol: codes have 5 bits or more
 *
 * The code is canonical, so the lengths of its symbols define it.
 */

/** In bits, by symbol; the last one is EOS. */
const codeLengths = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
] as const;
const eos = 256;

/** Parts of a step: the next state, the symbol, and what else is to be known about it. */
const [stateBits, symbolShift] = [0xff, 8];
const [emits, fails] = [1 << 16, 1 << 17];

interface Steps {
  /** By state and four bits. */
  readonly steps: Int32Array;
  /** By state: whether a string may end there: padding is less than a byte, and the beginning of EOS. */
  readonly isEnd: Uint8Array;
}

const { steps, isEnd } = makeSteps(makeTree());

/** By node and bit: the next node, or a symbol as −1 − symbol. The root is node 0. */
function makeTree(): number[][] {
  const tree: number[][] = [[]];
  const symbols = [...codeLengths.keys()];
  // In a canonical code, codes of a length follow each other in the order of symbols, behind all shorter ones.
  symbols.sort((a, b) => (codeLengths[a] as number) - (codeLengths[b] as number) || a - b);
  let code = 0;
  let codeLength = 0;
  for (const symbol of symbols) {
    const length = codeLengths[symbol] as number;
    code *= 2 ** (length - codeLength);
    codeLength = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit -= 1) {
      const branch = Math.floor(code / 2 ** bit) & 1;
      const next = tree[node]?.[branch] ?? tree.push([]) - 1;
      (tree[node] as number[])[branch] = next;
      node = next;
    }
    (tree[node] as number[])[code & 1] = -1 - symbol;
    code += 1;
  }
  return tree;
}

function makeSteps(tree: readonly number[][]): Steps {
  const table = new Int32Array(tree.length * 16);
  for (let state = 0; state < tree.length; state += 1) {
    for (let bits = 0; bits < 16; bits += 1) table[state * 16 + bits] = stepOf(tree, state, bits);
  }
  const ends = new Uint8Array(tree.length);
  let node = 0;
  for (let ones = 0; ones < 8; ones += 1) {
    ends[node] = 1;
    node = tree[node]?.[1] as number;
  }
  return { steps: table, isEnd: ends };
}

function stepOf(tree: readonly number[][], state: number, bits: number): number {
  let node = state;
  let step = 0;
  for (let bit = 3; bit >= 0; bit -= 1) {
    node = tree[node]?.[(bits >> bit) & 1] as number;
    if (node >= 0) continue;
    const symbol = -1 - node;
    if (symbol === eos) return fails;
    step = emits | (symbol << symbolShift);
    node = 0;
  }
  return step | node;
}

/** A string is longer decoded than encoded by at most this: its shortest codes have five bits. */
export const expansionMax = 8 / 5;

/**
 * Decodes a string.
 * @param target with room for `expansionMax` times the string
 * @returns where the decoded string ends; −1: it contains EOS, or its padding is not valid
 */
export function decodeHuffman(bytes: Uint8Array, start: number, end: number, target: Uint8Array, at: number): number {
  let to = at;
  let state = 0;
  for (let index = start; index < end; index += 1) {
    const byte = bytes[index] as number;
    let step = steps[state * 16 + (byte >> 4)] as number;
    if ((step & emits) !== 0) {
      target[to] = step >> symbolShift;
      to += 1;
    } else if ((step & fails) !== 0) return -1;
    step = steps[(step & stateBits) * 16 + (byte & 15)] as number;
    if ((step & emits) !== 0) {
      target[to] = step >> symbolShift;
      to += 1;
    } else if ((step & fails) !== 0) return -1;
    state = step & stateBits;
  }
  return isEnd[state] === 1 ? to : -1;
}

/**
 * Ordered rules by client network, as a binary trie: which is the first rule that matches an address, and how many
 * leading bits decide that?
 *
 *        (root)            each node: the lowest rule that ends here, and the lowest in everything below it
 *       0/    \1
 *      ·       ·  ◀ 128.0.0.0/1, rule 3
 *     0/\1              Walking down with the best rule so far, the walk may stop as soon as nothing below can
 *     ·  ·              beat it: every address that shares the bits walked so far gets the same rule.
 *
 * Rules are numbered by their order in the fleet document; the lowest wins, whatever its length.
 */
import { bitAt, bitsOf, type IpAddress } from "../wire/address.ts";

/** Stands for "no rule" and is beaten by every rule. */
export const noRule = 0x7fff_ffff;

interface TrieNode {
  zero: TrieNode | undefined;
  one: TrieNode | undefined;
  rule: number;
  lowestBelow: number;
}

export interface PrefixRules {
  readonly 4: TrieNode;
  readonly 6: TrieNode;
}

export interface PrefixMatch {
  /** The lowest matching rule, or the one that was handed in, or noRule. */
  readonly rule: number;
  /** Every address with the same leading bits gets the same result. */
  readonly prefixLength: number;
}

const newNode = (): TrieNode => ({ zero: undefined, one: undefined, rule: noRule, lowestBelow: noRule });

export function buildPrefixRules(
  rules: Iterable<{ readonly address: IpAddress; readonly prefixLength: number; readonly rule: number }>,
): PrefixRules {
  const tries = { 4: newNode(), 6: newNode() };
  for (const { address, prefixLength, rule } of rules) {
    let node = tries[address.family];
    for (let index = 0; index < prefixLength; index++) {
      node.lowestBelow = Math.min(node.lowestBelow, rule);
      if (bitAt(address, index) === 0) node = node.zero ??= newNode();
      else node = node.one ??= newNode();
    }
    node.rule = Math.min(node.rule, rule);
  }
  return tries;
}

/**
 * @param known a rule that matches the address for another reason; only lower ones are looked for
 */
export function matchPrefix(rules: PrefixRules, address: IpAddress, known: number): PrefixMatch {
  let node: TrieNode | undefined = rules[address.family];
  let rule = known;
  const bits = bitsOf(address.family);
  for (let index = 0; ; index++) {
    rule = Math.min(rule, node.rule);
    if (index === bits || node.lowestBelow >= rule) return { rule, prefixLength: index };
    const below: TrieNode | undefined = bitAt(address, index) === 0 ? node.zero : node.one;
    if (below === undefined) return { rule, prefixLength: index + 1 };
    node = below;
  }
}

/** Compares addresses in their canonical form. */
import { canonicalAddress } from "#base/ip-text.ts";

export function sameAddress(one: string, other: string): boolean {
  return canonicalAddress(one) === canonicalAddress(other);
}

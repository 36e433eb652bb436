/**
 * Finding a name in the zones (RFC 1034 §4.3.2), pure: longest apex first, then label by label down the zone, so
 * that a delegation above the name is met before the name itself.
 */
import { recordTypes } from "../wire/numbers.ts";
import type { WireName } from "../wire/name.ts";
import { childOf, wildcardChildOf } from "./name-tree.ts";
import type { CompiledZone, Found, ZoneIndex } from "./zone.ts";

/** Aliases that are followed; a longer chain is cut there. Nobody needs so many, and a loop ends there. */
export const aliasesMax = 12;

const missing: Found = { kind: "missing" };

/**
 * The zone with the longest apex at or above `name`. A DS question at the apex of one of our zones belongs to the
 * zone above it, when that one is ours as well (RFC 4035 §3.1.4.1).
 */
export function findZone(index: ZoneIndex, name: WireName, type: number): CompiledZone | undefined {
  let node = index.root;
  let zone = node.value.zone;
  let above: CompiledZone | undefined;
  for (let label = name.labelsCount - 1; label >= 0; label--) {
    const child = childOf(index, node, name, label);
    if (child === undefined) break;
    node = child;
    if (node.value.zone !== undefined) {
      above = zone;
      zone = node.value.zone;
    }
  }
  if (type === recordTypes.DS && above !== undefined && zone?.apex.labelsCount === name.labelsCount) return above;
  return zone;
}

/**
 * Where `name`, which lies at or below the zone's apex, leads. The work is one step per label below the apex.
 * A wildcard stands only for names whose closest encloser is its parent, so never below a name that exists, empty
 * non-terminals among them (RFC 4592 §3.3).
 */
export function lookUp(zone: CompiledZone, name: WireName, type: number): Found {
  let node = zone.tree.root;
  for (let label = name.labelsCount - zone.apex.labelsCount - 1; label >= 0; label--) {
    const child = childOf(zone.tree, node, name, label);
    if (child === undefined) return wildcardChildOf(zone.tree, node)?.value.foundByWildcard ?? missing;
    node = child;
    const cut = node.value.delegation;
    if (cut !== undefined && !(type === recordTypes.DS && label === 0)) return cut;
  }
  return node.value.foundHere;
}

/**
 * One line that says what a new fleet version changes: `site nyc added; site ber removed; limits changed`. Pure.
 *
 * Sections whose entries have no names are only reported as changed.
 */
import { isDeepStrictEqual } from "node:util";
import { counted } from "#base/counted.ts";
import type { Fleet } from "#document/document.ts";

/** How many names of added, removed or changed entries one section shows; the rest is counted. */
const namesShownMax = 4;

/** @param before undefined: there was none, or it can no longer be read */
export function summarizeFleet(before: Fleet | undefined, after: Fleet): string {
  if (before === undefined) {
    const { zones, sites, hosts } = after;
    const counts = [counted(zones.length, "zone"), counted(sites.length, "site"), counted(hosts.length, "host")];
    return `first version: ${counts.join(", ")}`;
  }
  const phrases = [
    ...changes("zone", named(before.zones), named(after.zones)),
    ...changes("site", named(before.sites), named(after.sites)),
    ...changes("host", named(before.hosts), named(after.hosts)),
    ...changes("steered name", named(before.steering), named(after.steering)),
    ...changes("preset", new Map(Object.entries(before.presets)), new Map(Object.entries(after.presets))),
    ...(["anycast", "limits", "probe"] as const).flatMap((key) =>
      isDeepStrictEqual(before[key], after[key]) ? [] : [`${key} changed`],
    ),
  ];
  return phrases.length === 0 ? "only the text" : phrases.join("; ");
}

function named(list: readonly { readonly name: string }[]): Map<string, unknown> {
  return new Map(list.map((one) => [one.name, one]));
}

/** The changes of one section: `site nyc added`, `sites ber, par removed`. */
function changes(
  word: string,
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): readonly string[] {
  const added = [...after.keys()].filter((name) => !before.has(name));
  const removed = [...before.keys()].filter((name) => !after.has(name));
  const changed = [...after.keys()].filter(
    (name) => before.has(name) && !isDeepStrictEqual(before.get(name), after.get(name)),
  );
  return [phrase(word, added, "added"), phrase(word, removed, "removed"), phrase(word, changed, "changed")].filter(
    (text) => text !== "",
  );
}

function phrase(word: string, names: readonly string[], fate: string): string {
  if (names.length === 0) return "";
  const more = names.length - namesShownMax;
  const shown = names.slice(0, namesShownMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
  return `${word}${names.length === 1 ? "" : "s"} ${shown} ${fate}`;
}

/**
 * One line that says what a new fleet version changes: `sites +nyc -ber, hosts ~img.cdn.test`. Pure.
 *
 * `+` is new, `-` is gone, `~` is changed. Sections without names of their own are only said to have changed.
 */
import { isDeepStrictEqual } from "node:util";
import type { Fleet } from "#fleet/document.ts";

/** Names shown of one section; the rest is counted. */
const namesShownMax = 4;

/** @param before undefined: there was none, or it can't be read any more */
export function summarizeFleet(before: Fleet | undefined, after: Fleet): string {
  if (before === undefined) {
    const { zones, sites, hosts } = after;
    const counts = [counted(zones.length, "zone"), counted(sites.length, "site"), counted(hosts.length, "host")];
    return `first version: ${counts.join(", ")}`;
  }
  const sections = [
    changes("zones", named(before.zones), named(after.zones)),
    changes("sites", named(before.sites), named(after.sites)),
    changes("hosts", named(before.hosts), named(after.hosts)),
    changes("steering", named(before.steering), named(after.steering)),
    changes("presets", new Map(Object.entries(before.presets)), new Map(Object.entries(after.presets))),
    ...(["anycast", "limits", "probe"] as const).map((key) =>
      isDeepStrictEqual(before[key], after[key]) ? "" : `${key} ~`,
    ),
  ].filter((section) => section !== "");
  return sections.length === 0 ? "only the text" : sections.join(", ");
}

function named(list: readonly { readonly name: string }[]): Map<string, unknown> {
  return new Map(list.map((one) => [one.name, one]));
}

function changes(section: string, before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): string {
  const marks: string[] = [];
  for (const [name, value] of after) {
    if (!before.has(name)) marks.push(`+${name}`);
    else if (!isDeepStrictEqual(before.get(name), value)) marks.push(`~${name}`);
  }
  for (const name of before.keys()) if (!after.has(name)) marks.push(`-${name}`);
  if (marks.length === 0) return "";
  const rest = marks.length - namesShownMax;
  return [section, ...marks.slice(0, namesShownMax), ...(rest > 0 ? [`and ${rest} more`] : [])].join(" ");
}

function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

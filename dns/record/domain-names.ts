/**
 * Domain names as the fleet document writes them, relative to their zone or absolute, and how names relate to each
 * other.
 */
import { Type } from "typebox";

const label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
export const absoluteName = Type.String({
  pattern: `^${label}(?:\\.${label})*\\.?$`,
  maxLength: 253,
  description: "an absolute domain name, with or without the final dot",
});
export const ownerName = Type.String({
  pattern: `^(?:@|(?:\\*\\.)?${label}(?:\\.${label})*\\.?|\\*)$`,
  maxLength: 253,
  description:
    "`@` for the zone's apex, a name relative to the zone, or an absolute name with a final dot; `*` is a wildcard",
});
export const targetName = Type.String({
  pattern: `^(?:@|\\.|${label}(?:\\.${label})*\\.?)$`,
  maxLength: 253,
  description: "a name relative to the zone, or an absolute name with a final dot",
});

/** A name without the final dot and in lower case. Hosts and steered names are compared in this form. */
export function canonicalName(name: string): string {
  return (name.endsWith(".") ? name.slice(0, -1) : name).toLowerCase();
}

/** The absolute name, without final dot, of an owner that is written relative to its zone. */
export function ownerOf(name: string, apex: string): string {
  if (name === "@") return apex;
  return name.endsWith(".") ? canonicalName(name) : `${name.toLowerCase()}.${apex}`;
}

/** Whether `name` is `ancestor` or lies below it. Both are in lower case, and both or neither have the final dot. */
export function isAtOrBelow(name: string, ancestor: string): boolean {
  if (ancestor === "." || name === ancestor) return true;
  if (!name.endsWith(ancestor)) return false;
  const dot = name.length - ancestor.length - 1;
  return name.charCodeAt(dot) === 0x2e && !isEscaped(name, dot);
}

/** The parent name, or undefined at the last label. The name has the form that isAtOrBelow() takes. */
export function nameAbove(name: string): string | undefined {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (!isEscaped(name, dot)) return name.slice(dot + 1);
  }
  return undefined;
}

/** A character is escaped when an odd number of backslashes precedes it. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (first > 0 && text.charCodeAt(first - 1) === 0x5c) first -= 1;
  return (at - first) % 2 === 1;
}

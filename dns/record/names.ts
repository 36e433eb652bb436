/**
 * Domain names as the fleet document has them: relative to their zone, or whole; and how names relate to each other.
 */
import { Type } from "typebox";

const label = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
export const absoluteName = Type.String({
  pattern: `^${label}(?:\\.${label})*\\.?$`,
  maxLength: 253,
  description: "a whole domain name, with or without the final dot",
});
export const ownerName = Type.String({
  pattern: `^(?:@|(?:\\*\\.)?${label}(?:\\.${label})*\\.?|\\*)$`,
  maxLength: 253,
  description:
    "`@` for the zone's apex, a name relative to the zone, or a whole name with a final dot; `*` is a wildcard",
});
export const targetName = Type.String({
  pattern: `^(?:@|\\.|${label}(?:\\.${label})*\\.?)$`,
  maxLength: 253,
  description: "a name relative to the zone, or a whole name with a final dot",
});

/** A name without the final dot, in lower case: the form in which hosts and steered names are compared. */
export function canonicalName(name: string): string {
  return (name.endsWith(".") ? name.slice(0, -1) : name).toLowerCase();
}

/** The whole name, without final dot, of an owner written relative to its zone. */
export function ownerOf(name: string, apex: string): string {
  if (name === "@") return apex;
  return name.endsWith(".") ? canonicalName(name) : `${name.toLowerCase()}.${apex}`;
}

/** Whether `name` is `ancestor` or lies below it; both in one form: with or without the final dot, lower case. */
export function isAtOrBelow(name: string, ancestor: string): boolean {
  if (ancestor === "." || name === ancestor) return true;
  if (!name.endsWith(ancestor)) return false;
  const dot = name.length - ancestor.length - 1;
  return name.charCodeAt(dot) === 0x2e && !isEscaped(name, dot);
}

/** The name above, or undefined at the last label. Same form as isAtOrBelow(). */
export function nameAbove(name: string): string | undefined {
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    if (!isEscaped(name, dot)) return name.slice(dot + 1);
  }
  return undefined;
}

/** An odd number of backslashes stands before it. */
function isEscaped(text: string, at: number): boolean {
  let first = at;
  while (first > 0 && text.charCodeAt(first - 1) === 0x5c) first -= 1;
  return (at - first) % 2 === 1;
}

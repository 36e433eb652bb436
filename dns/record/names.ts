/** Domain names as the fleet document has them: relative to their zone, or whole. */
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

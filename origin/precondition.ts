/**
 * "Only if nobody else has changed it": the preconditions of RFC 9110 §13.1 for writes, as a value that the HTTP side
 * parses and the catalogue checks inside the transaction that writes. Pure.
 */

export type Precondition =
  | { readonly kind: "none" }
  /** `If-None-Match: *`: nothing must exist yet. */
  | { readonly kind: "absent" }
  /** `If-Match: *`: something must exist. */
  | { readonly kind: "present" }
  /** `If-Match: "…"`: the current version must have one of these strong tags. */
  | { readonly kind: "oneOf"; readonly tags: readonly string[] };

export const noPrecondition: Precondition = { kind: "none" };

/** Tags per field; no real client sends a longer list. */
const tagsMax = 32;

export type ParsedPrecondition = { ok: true; precondition: Precondition } | { ok: false; reason: string };

/** Parses the two fields of a write. A form that can't protect the write is rejected, never ignored. */
export function parsePrecondition(ifMatch: string | undefined, ifNoneMatch: string | undefined): ParsedPrecondition {
  if (ifMatch !== undefined && ifNoneMatch !== undefined) {
    return { ok: false, reason: "a write must not have both If-Match and If-None-Match" };
  }
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch.trim() === "*") return { ok: true, precondition: { kind: "absent" } };
    return { ok: false, reason: "If-None-Match of a write must be *" };
  }
  if (ifMatch === undefined) return { ok: true, precondition: noPrecondition };
  if (ifMatch.trim() === "*") return { ok: true, precondition: { kind: "present" } };
  const tags = parseEntityTags(ifMatch);
  if (tags === undefined) return { ok: false, reason: `If-Match must be * or at most ${tagsMax} quoted tags` };
  // RFC 9110 §13.1.1: If-Match compares strongly, so a weak tag matches nothing.
  return { ok: true, precondition: { kind: "oneOf", tags: tags.filter((tag) => !tag.isWeak).map((tag) => tag.tag) } };
}

/** @param tag of the current version, or undefined when there is none */
export function holds(precondition: Precondition, tag: string | undefined): boolean {
  switch (precondition.kind) {
    case "none":
      return true;
    case "absent":
      return tag === undefined;
    case "present":
      return tag !== undefined;
    case "oneOf":
      return tag !== undefined && precondition.tags.includes(tag);
  }
}

/**
 * `If-Match` of a read (RFC 9110 §13.1.1, strong comparison): whether the client wants this version. A list that can't
 * be read names no version.
 */
export function isWantedBy(ifMatch: string | undefined, tag: string): boolean {
  if (ifMatch === undefined || ifMatch.trim() === "*") return true;
  return parseEntityTags(ifMatch)?.some((each) => !each.isWeak && each.tag === tag) ?? false;
}

/** `If-None-Match` of a read (RFC 9110 §13.1.2, weak comparison): whether the client already has this version. */
export function isKnownTo(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === "*") return true;
  return parseEntityTags(ifNoneMatch)?.some((each) => each.tag === tag) ?? false;
}

/** The tags of a list, without quotes; undefined when the text is not a list of tags (RFC 9110 §8.8.3). */
export function parseEntityTags(text: string): { tag: string; isWeak: boolean }[] | undefined {
  const tags: { tag: string; isWeak: boolean }[] = [];
  for (const member of text.split(",")) {
    const match = /^\s*(W\/)?"([\x21\x23-\x7e]*)"\s*$/.exec(member);
    if (match === null || tags.length === tagsMax) return undefined;
    tags.push({ tag: match[2] ?? "", isWeak: match[1] !== undefined });
  }
  return tags;
}

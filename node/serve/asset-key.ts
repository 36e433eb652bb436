/** Cache keys of an assets host, and the conditions that revalidate a stored response. Pure. */
import { canonicalName } from "#record/domain-names.ts";
import { type ObjectFacts, keyOf } from "../cache/object.ts";
import type { Freshness } from "../cache/freshness.ts";
import { codingsOf, fieldOf, forwardedFields, type RequestFields } from "../fetch/asset.ts";
import type { AssetOrder } from "./order.ts";

/** What a stored response needs to know about itself. (An interface would not fit a record of unknown values.) */
export type Notes = {
  freshness: Freshness;
  etag: string | null;
  lastModified: string | null;
};

/** Written by this program; the checksum of the head proves it when they come from disk. */
export function notesOf({ facts }: { facts: ObjectFacts }): Notes {
  return facts.notes as Notes;
}

/** The key of a URL: its only response, or the list of the fields that select among several (RFC 9111 §4.1). */
export function primaryKeyOf(host: Pick<AssetOrder["host"], "name">, target: string): string {
  return keyOf("asset", canonicalName(host.name), target);
}

/**
 * The key among a URL's variants: the selecting fields as the origin saw them (RFC 9111 §4.1). The origin sees only
 * those on the allow-list, so other fields select nothing, whatever clients write there.
 */
export function keyAmong(primaryKey: string, varyFields: readonly string[], fields: RequestFields): string {
  if (varyFields.length === 0) return primaryKey;
  const values = varyFields.flatMap((name) => {
    const value = forwardedFields.includes(name) ? fieldOf(fields, name) : undefined;
    if (name === "accept-encoding") return [name, codingsOf(value ?? "")];
    return [name, value === undefined ? "absent" : `present:${value.trim().replaceAll(/\s+/g, " ")}`];
  });
  return keyOf("asset-variant", primaryKey, ...values);
}

/** Everything in a client's fields that can change the origin's response. */
export function fieldsKey(fields: RequestFields): string {
  return keyAmong("fields", forwardedFields, fields);
}

/** Validators of a stored response; both if it has both (RFC 9111 §4.3.1). */
export function conditionsOf(stored: { facts: ObjectFacts }): Record<string, string> {
  const { etag, lastModified } = notesOf(stored);
  return {
    ...(etag === null ? {} : { "if-none-match": etag }),
    ...(lastModified === null ? {} : { "if-modified-since": lastModified }),
  };
}

/**
 * The purge kinds: one file each in kinds/, and one line here. Each line's key is the kind's name in requests to the
 * origin, in events of the feed and in reports.
 *
 * An edge of an older release ignores a kind that it does not know, and would keep what it should drop. So for as long
 * as such an edge may be connected, a purge of a new kind must also select the same objects by a kind that it knows.
 * For the same reason a new kind is optional in reports.
 */
import type { TSchema } from "typebox";
import { all } from "./kinds/all.ts";
import { hosts } from "./kinds/hosts.ts";
import { names } from "./kinds/names.ts";
import { prefix } from "./kinds/prefix.ts";
import { tags } from "./kinds/tags.ts";
import type { PurgeKind } from "./purge-kind.ts";

const table = { names, prefix, hosts, tags, all } as const;

type Table = typeof table;
export type PurgeKindName = keyof Table;

export const purgeKinds: Readonly<Record<PurgeKindName, PurgeKind>> = table;

/** In the order of the table, which is that of the help and of the API. */
export const purgeKindNames = Object.keys(table) as PurgeKindName[];

/** The kinds with this schema, by name: the properties of a schema that covers all kinds. */
export type KindFields<Part extends string> = {
  [Name in PurgeKindName as Table[Name] extends Record<Part, TSchema> ? Name : never]: Table[Name] extends Record<
    Part,
    infer Schema extends TSchema
  >
    ? Schema
    : never;
};

export function kindFields<Part extends "inRequest" | "inEvent" | "inReport" | "inUnheld">(
  part: Part,
): KindFields<Part> {
  const fields = purgeKindNames.flatMap((name) => {
    const schema = purgeKinds[name][part];
    return schema === undefined ? [] : [[name, schema] as const];
  });
  return Object.fromEntries(fields) as KindFields<Part>;
}

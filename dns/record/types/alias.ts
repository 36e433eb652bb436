/**
 * ALIAS, which PowerDNS calls so, and others ANAME: answered with the A and AAAA of another name in these zones, at the
 * apex too, where a CNAME may not stand. It never stands on the wire: dns/zone/derived-records.ts puts the addresses in
 * its place.
 */
import { targetName } from "../names.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName } from "../zone-file/fields.ts";

export const alias = recordType({
  type: "ALIAS",
  schema: recordSchema("ALIAS", { target: targetName }),
  alsoWritten: "ANAME",
  standing: "single",
  readText: (fields, { name, ttlSeconds }) => ({ name, type: "ALIAS", ttlSeconds, target: takeName(fields, "a name") }),
  targetOf: ({ target }) => target,
  *rulesOf({ target }, around) {
    const { owner, at } = around;
    if (around.has("A", "AAAA", "CNAME")) {
      yield { path: at(), message: `${owner} has an ALIAS beside A, AAAA or CNAME records` };
    }
    if (around.isSteered(owner)) yield { path: at(), message: `${owner} has an ALIAS and is a steered name` };
    const why = around.whyNoAddresses(around.whole(target));
    if (why !== undefined) yield { path: at("target"), message: `the ALIAS of ${owner} ${why}` };
  },
});

/**
 * ALIAS (PowerDNS's name; others say ANAME): answered with the A and AAAA of another name in these zones. Unlike a
 * CNAME it is allowed at the apex. It is never sent: dns/zone/derived-records.ts replaces it with the addresses.
 */
import { targetName } from "../domain-names.ts";
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
      yield { path: at(), message: `${owner} has both an ALIAS and A, AAAA or CNAME records: keep one of them` };
    }
    if (around.isSteered(owner))
      yield { path: at(), message: `${owner} has an ALIAS and is also steered: remove one of them` };
    const why = around.whyNoAddresses(around.whole(target));
    if (why !== undefined) yield { path: at("target"), message: `the ALIAS of ${owner} ${why}` };
  },
});

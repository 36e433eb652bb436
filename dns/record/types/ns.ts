/** NS (RFC 1035 §3.3.11): a nameserver of the zone or of a delegated child. */
import { readName } from "../rdata-reader.ts";
import { putTarget } from "../rdata-writer.ts";
import { isAtOrBelow, targetName } from "../domain-names.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName } from "../zone-file/fields.ts";

export const ns = recordType({
  type: "NS",
  schema: recordSchema("NS", { target: targetName }),
  isNeverRaw: true,
  readText: (fields, { name, ttlSeconds }) => ({ name, type: "NS", ttlSeconds, target: takeName(fields, "a name") }),
  readRdata: (reader, start) => ({ ...start, type: "NS", target: readName(reader) }),
  writeRdata({ target }, into) {
    putTarget(into, target, "compressible");
  },
  targetOf: ({ target }) => target,
  *rulesOf({ target }, around) {
    const { owner, apex, at } = around;
    const server = around.whole(target);
    const path = at("target");
    const isAtApex = owner === apex;
    // RFC 2181 §10.3. Below a delegation this is only a warning: the child's data decides.
    if (around.isCname(server)) {
      const problem = {
        path,
        message: `the nameserver ${server} is a CNAME: give it A or AAAA records instead (RFC 2181 §10.3)`,
      };
      if (isAtApex) yield problem;
      else around.warn(problem);
    }
    if (!isAtApex) return;
    if (around.isSteered(server))
      yield { path, message: `the nameserver ${server} is steered: a nameserver needs fixed addresses` };
    else if (around.isZoneFile && isAtOrBelow(server, apex) && !around.hasAt(server, "A", "AAAA", "CNAME")) {
      yield { path, message: `the nameserver ${server} lies in the zone but has no A or AAAA record there` };
    }
  },
});

/** DNAME (RFC 6672): redirects every name below this one to the same name below the target. */
import { targetName } from "../domain-names.ts";
import { readName } from "../rdata-reader.ts";
import { putTarget } from "../rdata-writer.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName } from "../zone-file/fields.ts";

export const dname = recordType({
  type: "DNAME",
  schema: recordSchema("DNAME", { target: targetName }),
  isNeverRaw: true,
  // RFC 6672 §2.4.
  standing: "single",
  readText: (fields, { name, ttlSeconds }) => ({ name, type: "DNAME", ttlSeconds, target: takeName(fields, "a name") }),
  readRdata: (reader, start) => ({ ...start, type: "DNAME", target: readName(reader) }),
  writeRdata({ target }, into) {
    // RFC 6672 §2.5.
    putTarget(into, target, "whole");
  },
  targetOf: ({ target }) => target,
  /** RFC 6672 §2.3 and §3.3. */
  *rulesOf(_record, { owner, apex, has, at }) {
    if (has("NS") && owner !== apex) {
      yield { path: at(), message: `${owner} has both a DNAME and NS records: this is allowed only at the apex` };
    }
    if (owner.startsWith("*.")) yield { path: at("name"), message: `a DNAME can't be at a wildcard (${owner})` };
  },
});

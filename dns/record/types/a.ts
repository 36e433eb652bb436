/** A (RFC 1035 §3.4.1): an IPv4 address. */
import { isIPv4 } from "node:net";
import { textOfIp } from "#base/ip-octets.ts";
import { Type } from "typebox";
import { putAddress } from "../rdata-writer.ts";
import { readOctets } from "../rdata-reader.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { refuse, takeWord } from "../zone-file/fields.ts";
import { quote } from "../zone-file/words.ts";

export const a = recordType({
  type: "A",
  schema: recordSchema("A", { address: Type.String({ format: "ip", description: "an IPv4 address" }) }),
  isNeverRaw: true,
  readText(fields, { name, ttlSeconds }) {
    const address = takeWord(fields, "an IPv4 address");
    if (!isIPv4(address)) refuse(fields, `the address must be an IPv4 address (got ${quote(address)})`);
    return { name, type: "A", ttlSeconds, address };
  },
  readRdata: (reader, start) => ({ ...start, type: "A", address: textOfIp(readOctets(reader, 4)) }),
  writeRdata({ address }, into) {
    putAddress(into, address, 4);
  },
  *faultsOf({ address }) {
    if (!isIPv4(address)) yield { key: "address", message: `must be an IPv4 address (got "${address}")` };
  },
});

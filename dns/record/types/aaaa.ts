/** AAAA (RFC 3596): an IPv6 address. */
import { isIPv6 } from "node:net";
import { textOfIp } from "#base/ip-octets.ts";
import { Type } from "typebox";
import { putAddress } from "../rdata-writer.ts";
import { readOctets } from "../rdata-reader.ts";
import { recordSchema } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { refuse, takeWord } from "../zone-file/fields.ts";
import { quote } from "../zone-file/words.ts";

export const aaaa = recordType({
  type: "AAAA",
  schema: recordSchema("AAAA", { address: Type.String({ format: "ip", description: "an IPv6 address" }) }),
  isNeverRaw: true,
  readText(fields, { name, ttlSeconds }) {
    const address = takeWord(fields, "an IPv6 address");
    if (!isIPv6(address) || address.includes("%"))
      refuse(fields, `the address must be an IPv6 address (got ${quote(address)})`);
    return { name, type: "AAAA", ttlSeconds, address };
  },
  readRdata: (reader, start) => ({ ...start, type: "AAAA", address: textOfIp(readOctets(reader, 16)) }),
  writeRdata({ address }, into) {
    putAddress(into, address, 6);
  },
  *faultsOf({ address }) {
    if (!isIPv6(address)) yield { key: "address", message: `must be an IPv6 address (got "${address}")` };
  },
});

/**
 * Types that zone files may use but the fleet document has no schema for. They are kept as RAW. Each line lists the
 * fields of one type; a type without a line is read only as octets (`\# LENGTH HEX`, RFC 3597).
 */
import { putHex, putName, putOctets, putString, putText, putUint16, putUint32, putUint8 } from "./rdata-writer.ts";
import { type Rdata, rdataOctetsMax } from "./rdata-writer.ts";
import { uint16Max, uint32Max, uint8Max } from "./record-schema.ts";
import { type TypeName, typeNumbers } from "./type-numbers.ts";
import {
  characterStringOctetsMax,
  type Fields,
  refuse,
  takeBase64,
  takeHex,
  takeName,
  takeNumber,
  takeOctets,
  takeStrings,
  takeWord,
} from "./zone-file/fields.ts";
import { takeAlgorithm, takeCertificateType } from "./zone-file/named-numbers.ts";
import { quote } from "./zone-file/words.ts";

/** How one field, or all remaining ones, become octets. */
type Part =
  | "uint8"
  | "uint16"
  | "uint32"
  | "algorithm"
  | "certificate"
  | "name"
  | "string"
  | "strings"
  /** Text that extends to the end of the rdata, without a length octet. */
  | "text"
  | "hex"
  | "base64"
  | "eui48"
  | "eui64";

const formats: Partial<Record<TypeName, readonly Part[]>> = {
  HINFO: ["string", "string"],
  RP: ["name", "name"],
  AFSDB: ["uint16", "name"],
  KEY: ["uint16", "uint8", "algorithm", "base64"],
  KX: ["uint16", "name"],
  CERT: ["certificate", "uint16", "algorithm", "base64"],
  DNSKEY: ["uint16", "uint8", "algorithm", "base64"],
  DHCID: ["base64"],
  SMIMEA: ["uint8", "uint8", "uint8", "hex"],
  CDS: ["uint16", "algorithm", "uint8", "hex"],
  CDNSKEY: ["uint16", "uint8", "algorithm", "base64"],
  OPENPGPKEY: ["base64"],
  ZONEMD: ["uint32", "uint8", "uint8", "hex"],
  SPF: ["strings"],
  EUI48: ["eui48"],
  EUI64: ["eui64"],
  URI: ["uint16", "uint16", "text"],
};

const formatsByNumber = new Map<number, readonly Part[]>(
  Object.entries(formats).map(([name, format]) => [typeNumbers[name as TypeName], format]),
);

/** Returns a reader that puts the octets of this type's fields; undefined for a type that is not in the table. */
export function rawFormatOf(typeNumber: number): ((fields: Fields, into: Rdata) => void) | undefined {
  const format = formatsByNumber.get(typeNumber);
  if (format === undefined) return undefined;
  return (fields, into) => {
    for (const part of format) takePart(fields, part, into);
  };
}

function takePart(fields: Fields, part: Part, into: Rdata): void {
  switch (part) {
    case "uint8":
      putUint8(into, takeNumber(fields, "a number", uint8Max));
      return;
    case "uint16":
      putUint16(into, takeNumber(fields, "a number", uint16Max));
      return;
    case "uint32":
      putUint32(into, takeNumber(fields, "a number", uint32Max));
      return;
    case "algorithm":
      putUint8(into, takeAlgorithm(fields));
      return;
    case "certificate":
      putUint16(into, takeCertificateType(fields));
      return;
    case "name":
      putName(into, takeName(fields, "a name"), "whole");
      return;
    case "string":
      putString(into, takeOctets(fields, "a string", characterStringOctetsMax));
      return;
    case "strings":
      for (const string of takeStrings(fields)) putString(into, string);
      return;
    case "text":
      putText(into, takeOctets(fields, "a string", rdataOctetsMax));
      return;
    case "hex":
      putHex(into, takeHex(fields, "the data"));
      return;
    case "base64":
      putOctets(into, takeBase64(fields, "the data"));
      return;
    case "eui48":
      putHex(into, takeEui(fields, 6));
      return;
    case "eui64":
      putHex(into, takeEui(fields, 8));
  }
}

/** EUI-48 and EUI-64 (RFC 7043): octets separated by hyphens. */
function takeEui(fields: Fields, octets: 6 | 8): string {
  const word = takeWord(fields, "an identifier");
  if (!new RegExp(`^[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){${octets - 1}}$`).test(word)) {
    refuse(
      fields,
      `an identifier must be ${octets} octets separated by hyphens, such as 00-00-5e-… (got ${quote(word)})`,
    );
  }
  return word.replaceAll("-", "");
}

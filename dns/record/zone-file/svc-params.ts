/**
 * SvcParams of SVCB and HTTPS records (RFC 9460), from their presentation (§2.1) and from rdata.
 *
 *   alpn="h2,h3" port=8443 no-default-alpn key65333=\001\002
 *
 * A parameter without a key of its own in the document is kept as its number and octets. One that has such a key may
 * be written by number all the same (key1=\002h2): it is understood.
 */
import { isIPv4, isIPv6 } from "node:net";
import type { ZoneRecord } from "../zone-record.ts";
import { fieldFlags } from "./scan.ts";
import { type Fields, hasFlag, hasMore, octetsFromBase64, rawField, refuse, textIfUtf8 } from "./fields.ts";
import { octetsOf } from "./names.ts";
import { addressText, isAtEnd, readOctets, readUint16, wireReader, type WireReader } from "./wire.ts";
import { quote } from "./words.ts";

export type SvcParams = (ZoneRecord & { type: "HTTPS" })["params"];

/** Keys that the document knows, by number (RFC 9460 §14.3.2). */
const namedKeys = ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint"] as const;
type NamedKey = (typeof namedKeys)[number];
/** Later ones, whose values are kept as octets: dohpath (RFC 9461), ohttp (RFC 9540). */
const laterKeys = new Map([
  ["dohpath", 7],
  ["ohttp", 8],
]);

/** The number of `alpn`, `dohpath` or `key65333`; undefined when it is none. 65535 is never one. */
function keyNumber(key: string): number | undefined {
  const index = namedKeys.indexOf(key as NamedKey);
  if (index >= 0) return index;
  const later = laterKeys.get(key);
  if (later !== undefined) return later;
  const digits = /^key(0|[1-9]\d{0,4})$/.exec(key)?.[1];
  return digits !== undefined && Number(digits) < 65_535 ? Number(digits) : undefined;
}

/** The key as the document writes it. */
function keyName(number: number): string {
  return namedKeys[number] ?? `key${number}`;
}

/** Reads all fields that are left. */
export function takeSvcParams(fields: Fields): SvcParams {
  const params: SvcParams = {};
  const seen = new Set<number>();
  while (hasMore(fields) && fields.problem === "") {
    const field = fields.next++;
    const word = rawField(fields, field);
    const equals = word.indexOf("=");
    const key = (equals < 0 ? word : word.slice(0, equals)).toLowerCase();
    let value = equals < 0 ? undefined : word.slice(equals + 1);
    // key="value": the quotes make a field of their own, with nothing between.
    if (value === "" && hasMore(fields) && isGluedQuote(fields, fields.next)) value = rawField(fields, fields.next++);
    const number = hasFlag(fields, field, fieldFlags.quoted) ? undefined : keyNumber(key);
    if (number === undefined) {
      refuse(
        fields,
        `${quote(word)} is no parameter: wanted key=value with one of ${namedKeys.join(", ")}, keyNNN`,
        field,
      );
      return params;
    }
    if (seen.has(number)) refuse(fields, `the parameter ${key} is there twice`, field);
    seen.add(number);
    const octets = value === undefined ? undefined : octetsOf(value);
    if (value !== undefined && octets === undefined) {
      refuse(fields, `${quote(value)} has a backslash without a character or a number of 0-255 after it`, field);
      return params;
    }
    const isByNumber = key.startsWith("key");
    const problem =
      isByNumber || number >= namedKeys.length
        ? addFromOctets(params, number, octets ?? Buffer.alloc(0))
        : addFromText(params, namedKeys[number], octets);
    if (problem !== undefined) refuse(fields, `${key}: ${problem}`, field);
  }
  return params;
}

function isGluedQuote(fields: Fields, field: number): boolean {
  return hasFlag(fields, field, fieldFlags.glued) && hasFlag(fields, field, fieldFlags.quoted);
}

/** @returns what is wrong with the value */
function addFromText(params: SvcParams, key: NamedKey | undefined, octets: Buffer | undefined): string | undefined {
  if (key === "no-default-alpn") {
    params.noDefaultAlpn = true;
    return octets === undefined ? undefined : "takes no value";
  }
  if (octets === undefined || octets.length === 0) return "needs a value";
  const values = commaSeparated(octets);
  if (values === undefined) return `${quote(octets.toString())} is not a list without empty values`;
  const text = octets.toString();
  switch (key) {
    case "mandatory": {
      const numbers = values.map((value) => keyNumber(value.toString().toLowerCase()));
      const unknown = values[numbers.indexOf(undefined)];
      if (unknown !== undefined) return `${quote(unknown.toString())} is no key`;
      params.mandatory = numbers.map((number) => keyName(number ?? 0));
      return undefined;
    }
    case "alpn":
      return addAlpn(params, values);
    case "port":
      if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) return `${quote(text)} is not a port (0-65535)`;
      params.port = Number(text);
      return undefined;
    case "ech":
      if (octetsFromBase64(text) === undefined) return `${quote(text)} is not base64`;
      params.ech = text;
      return undefined;
    case "ipv4hint":
    case "ipv6hint": {
      const isOfFamily =
        key === "ipv4hint" ? isIPv4 : (value: string): boolean => isIPv6(value) && !value.includes("%");
      const addresses = values.map(String);
      const wrong = addresses.find((address) => !isOfFamily(address));
      if (wrong !== undefined) return `${quote(wrong)} is not an ${key === "ipv4hint" ? "IPv4" : "IPv6"} address`;
      params[key] = addresses;
      return undefined;
    }
    case undefined:
      return undefined;
  }
}

function addAlpn(params: SvcParams, values: readonly Buffer[]): string | undefined {
  const alpn: string[] = [];
  for (const value of values) {
    const text = textIfUtf8(value);
    if (typeof text !== "string") return `${quote(value.toString("latin1"))} is not UTF-8`;
    if (value.length === 0 || value.length > 255) return `${quote(text)} must have 1-255 octets`;
    alpn.push(text);
  }
  params.alpn = alpn;
  return undefined;
}

/**
 * RFC 9460 appendix A.1: commas part the values, a backslash (a second layer of them) keeps a comma or a backslash in.
 * @returns undefined where a value is empty
 */
function commaSeparated(octets: Buffer): Buffer[] | undefined {
  const values: Buffer[] = [];
  let value: number[] = [];
  for (let at = 0; at <= octets.length; at++) {
    const octet = octets[at];
    if (octet === undefined || octet === 0x2c) {
      if (value.length === 0) return undefined;
      values.push(Buffer.from(value));
      value = [];
    } else if (octet === 0x5c && at + 1 < octets.length) value.push(octets[++at] ?? 0);
    else value.push(octet);
  }
  return values;
}

/** @returns what is wrong with the value */
function addFromOctets(params: SvcParams, number: number, octets: Buffer): string | undefined {
  const reader = wireReader(octets);
  const many = <Value>(read: () => Value): Value[] => {
    const values: Value[] = [];
    while (!isAtEnd(reader)) values.push(read());
    return values;
  };
  let problem: string | undefined;
  switch (namedKeys[number]) {
    case undefined:
      (params.other ??= {})[`key${number}`] = octets.toString("hex");
      return undefined;
    case "mandatory":
      params.mandatory = many(() => keyName(readUint16(reader)));
      break;
    case "alpn":
      problem = addAlpn(
        params,
        many(() => readOctets(reader, readOctets(reader, 1).readUInt8())),
      );
      break;
    case "no-default-alpn":
      params.noDefaultAlpn = true;
      return octets.length === 0 ? undefined : "takes no value";
    case "port":
      params.port = readUint16(reader);
      break;
    case "ipv4hint":
      params.ipv4hint = many(() => addressText(readOctets(reader, 4)));
      break;
    case "ech":
      params.ech = octets.toString("base64");
      break;
    case "ipv6hint":
      params.ipv6hint = many(() => addressText(readOctets(reader, 16)));
      break;
  }
  if (octets.length === 0) return "needs a value";
  return reader.isBroken || !isAtEnd(reader) ? "its octets are no such value" : problem;
}

/** SvcParams in rdata (RFC 9460 §2.2): keys in ascending order. Undefined: they are malformed. */
export function readSvcParams(reader: WireReader): SvcParams | undefined {
  const params: SvcParams = {};
  let previous = -1;
  while (!isAtEnd(reader)) {
    const number = readUint16(reader);
    const octets = readOctets(reader, readUint16(reader));
    if (reader.isBroken || number <= previous || number === 65_535) return undefined;
    previous = number;
    if (addFromOctets(params, number, octets) !== undefined) return undefined;
  }
  return params;
}

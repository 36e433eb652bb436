/**
 * SvcParams of SVCB and HTTPS records (RFC 9460): their schema, their presentation format (§2.1), their wire format
 * (§2.2), and the rules between them. Each key is one entry of the table below.
 *
 *   alpn="h2,h3" port=8443 no-default-alpn key65333=\001\002
 *
 * A parameter without an entry is kept as its number and octets (`other`). One with an entry may also be written by
 * number (key1=\002h2).
 */
import { isIP } from "node:net";
import { textOfIp } from "#base/ip-octets.ts";
import { Type, type Static } from "typebox";
import type { ValueProblem } from "#base/schema.ts";
import { strict } from "#base/schema-terms.ts";
import { octetsOf } from "./name-text.ts";
import { isAtEnd, type RdataReader, rdataReader, readOctets, readUint16 } from "./rdata-reader.ts";
import { putAddress, putHex, putOctets, putSized, putString, putUint16, type Rdata } from "./rdata-writer.ts";
import { hex, uint16 } from "./record-schema.ts";
import type { Fault, Surroundings } from "./record-type.ts";
import { inMandatoryOrder, invalidSvcParamKey, svcParamKeyFrom, svcParamKeys } from "./svc-param-keys.ts";
import { type Fields, hasFlag, hasMore, octetsFromBase64, rawField, refuse, textIfUtf8 } from "./zone-file/fields.ts";
import { fieldFlags } from "./zone-file/scan.ts";
import { quote } from "./zone-file/words.ts";

const hints = Type.Optional(
  Type.Array(Type.String({ format: "ip" }), {
    minItems: 1,
    maxItems: 16,
    description: "only for targets outside these zones",
  }),
);

/** Address hints for names in these zones are always made from their A and AAAA records. */
export const svcParams = Type.Object(
  {
    mandatory: Type.Optional(Type.Array(Type.String({ pattern: "^[a-z0-9-]{1,63}$" }), { minItems: 1, maxItems: 32 })),
    alpn: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 255 }), {
        minItems: 1,
        maxItems: 16,
        description: "protocols, such as `h2`",
      }),
    ),
    noDefaultAlpn: Type.Optional(Type.Boolean({ description: "don't offer http/1.1" })),
    port: Type.Optional(uint16),
    ipv4hint: hints,
    ech: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9+/]+={0,2}$", maxLength: 4096, description: "base64" })),
    ipv6hint: hints,
    other: Type.Optional(
      Type.Record(Type.String({ pattern: "^key[0-9]{1,5}$" }), hex("value"), {
        additionalProperties: false,
        maxProperties: 32,
        description: "parameters that have no name here, by number: `key7: hexadecimal value`",
      }),
    ),
  },
  { ...strict, default: {} },
);
export type SvcParams = Static<typeof svcParams>;

/** One key. The two readers return what is wrong with the value, or undefined. */
interface Param {
  readonly key: keyof typeof svcParamKeys;
  readonly isPresent: (params: SvcParams) => boolean;
  /** The key takes no value. */
  readonly isFlag?: true;
  /** @param values the comma-separated values; `text` is the whole text */
  readonly fromText: (params: SvcParams, values: readonly Buffer[], text: string) => string | undefined;
  readonly fromOctets: (params: SvcParams, reader: RdataReader) => string | undefined;
  readonly put: (into: Rdata, params: SvcParams) => void;
}

function hintParam(key: "ipv4hint" | "ipv6hint", family: 4 | 6): Param {
  return {
    key,
    isPresent: (params) => params[key] !== undefined,
    fromText(params, values) {
      const addresses = values.map(String);
      const wrong = addresses.find((address) => isIP(address) !== family || address.includes("%"));
      if (wrong !== undefined) return `must be IPv${family} addresses (got ${quote(wrong)})`;
      params[key] = addresses;
      return undefined;
    },
    fromOctets(params, reader) {
      params[key] = readAll(reader, () => textOfIp(readOctets(reader, family === 4 ? 4 : 16)));
      return undefined;
    },
    put(into, params) {
      for (const address of params[key] ?? []) putAddress(into, address, family);
    },
  };
}

/** In ascending order of their numbers, as on the wire. */
const table: readonly Param[] = [
  {
    key: "mandatory",
    isPresent: ({ mandatory }) => mandatory !== undefined,
    fromText(params, values) {
      const numbers = values.map((value) => svcParamKeyFrom(value.toString().toLowerCase()));
      const unknown = values[numbers.indexOf(undefined)];
      if (unknown !== undefined) return `${quote(unknown.toString())} is not a SvcParamKey`;
      params.mandatory = numbers.map((number) => keyName(number ?? 0));
      return undefined;
    },
    fromOctets(params, reader) {
      params.mandatory = readAll(reader, () => keyName(readUint16(reader)));
      return undefined;
    },
    put(into, { mandatory = [] }) {
      const numbers = mandatory.map((key) => svcParamKeyFrom(key) ?? invalidSvcParamKey);
      for (const number of inMandatoryOrder(numbers)) putUint16(into, number);
    },
  },
  {
    key: "alpn",
    isPresent: ({ alpn }) => alpn !== undefined,
    fromText: (params, values) => addAlpn(params, values),
    fromOctets: (params, reader) =>
      addAlpn(
        params,
        readAll(reader, () => readOctets(reader, readOctets(reader, 1).readUInt8())),
      ),
    put(into, { alpn = [] }) {
      for (const protocol of alpn) {
        if (protocol === "") into.isBroken = true;
        putString(into, protocol);
      }
    },
  },
  {
    key: "no-default-alpn",
    isPresent: ({ noDefaultAlpn }) => noDefaultAlpn === true,
    isFlag: true,
    fromText(params) {
      params.noDefaultAlpn = true;
      return undefined;
    },
    fromOctets(params) {
      params.noDefaultAlpn = true;
      return undefined;
    },
    put() {},
  },
  {
    key: "port",
    isPresent: ({ port }) => port !== undefined,
    fromText(params, _values, text) {
      if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535)
        return `must be a whole number from 0 to 65535 (got ${quote(text)})`;
      params.port = Number(text);
      return undefined;
    },
    fromOctets(params, reader) {
      params.port = readUint16(reader);
      return undefined;
    },
    put(into, { port = 0 }) {
      putUint16(into, port);
    },
  },
  hintParam("ipv4hint", 4),
  {
    key: "ech",
    isPresent: ({ ech }) => ech !== undefined,
    fromText(params, _values, text) {
      if (octetsFromBase64(text) === undefined) return `must be base64 (got ${quote(text)})`;
      params.ech = text;
      return undefined;
    },
    fromOctets(params, reader) {
      params.ech = readOctets(reader, reader.octets.length).toString("base64");
      return undefined;
    },
    put(into, { ech = "" }) {
      putOctets(into, Buffer.from(ech, "base64"));
    },
  },
  hintParam("ipv6hint", 6),
];

const entries = new Map(table.map((one) => [svcParamKeys[one.key] as number, one]));

/** The key's name in the fleet document. */
function keyName(number: number): string {
  return entries.get(number)?.key ?? `key${number}`;
}

function readAll<Value>(reader: RdataReader, read: () => Value): Value[] {
  const values: Value[] = [];
  while (!isAtEnd(reader)) values.push(read());
  return values;
}

function addAlpn(params: SvcParams, values: readonly Buffer[]): string | undefined {
  const alpn: string[] = [];
  for (const value of values) {
    const text = textIfUtf8(value);
    if (typeof text !== "string") return `must be UTF-8 (got ${quote(value.toString("latin1"))})`;
    if (value.length === 0 || value.length > 255) return `each value must have 1-255 octets (got ${quote(text)})`;
    alpn.push(text);
  }
  params.alpn = alpn;
  return undefined;
}

/** Reads all remaining fields. */
export function takeSvcParams(fields: Fields): SvcParams {
  const params: SvcParams = {};
  const seen = new Set<number>();
  while (hasMore(fields) && fields.problem === "") {
    const field = fields.next++;
    const word = rawField(fields, field);
    const equals = word.indexOf("=");
    const key = (equals < 0 ? word : word.slice(0, equals)).toLowerCase();
    let value = equals < 0 ? undefined : word.slice(equals + 1);
    // In key="value" the quoted part is a field of its own, right after key=.
    if (value === "" && hasMore(fields) && isGluedQuote(fields, fields.next)) value = rawField(fields, fields.next++);
    const number = hasFlag(fields, field, fieldFlags.quoted) ? undefined : svcParamKeyFrom(key);
    if (number === undefined) {
      const known = table.map((one) => one.key).join(", ");
      refuse(fields, `${quote(word)} is not a parameter: write key=value with one of ${known}, keyNNN`, field);
      return params;
    }
    if (seen.has(number)) refuse(fields, `the parameter ${key} appears twice: keep one`, field);
    seen.add(number);
    const octets = value === undefined ? undefined : octetsOf(value);
    if (value !== undefined && octets === undefined) {
      refuse(
        fields,
        `${quote(value)} has an invalid escape: a backslash must be followed by a character or by three digits ` +
          `up to 255`,
        field,
      );
      return params;
    }
    const entry = entries.get(number);
    const problem =
      key.startsWith("key") || entry === undefined
        ? addFromOctets(params, number, octets ?? Buffer.alloc(0))
        : addFromText(params, entry, octets);
    if (problem !== undefined) refuse(fields, `${key}: ${problem}`, field);
  }
  return params;
}

function isGluedQuote(fields: Fields, field: number): boolean {
  return hasFlag(fields, field, fieldFlags.glued) && hasFlag(fields, field, fieldFlags.quoted);
}

/** @returns what is wrong with the value */
function addFromText(params: SvcParams, entry: Param, octets: Buffer | undefined): string | undefined {
  if (entry.isFlag === true) return entry.fromText(params, [], "") ?? (octets === undefined ? undefined : noValue);
  if (octets === undefined || octets.length === 0) return someValue;
  const values = commaSeparated(octets);
  if (values === undefined)
    return `must be a comma-separated list without empty values (got ${quote(octets.toString())})`;
  return entry.fromText(params, values, octets.toString());
}

const noValue = "must not have a value";
const someValue = "must have a value";

/**
 * RFC 9460 appendix A.1: commas separate the values. A second layer of backslashes escapes a comma or a backslash.
 * @returns undefined when a value is empty
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
  const entry = entries.get(number);
  if (entry === undefined) {
    (params.other ??= {})[`key${number}`] = octets.toString("hex");
    return undefined;
  }
  const reader = rdataReader(octets);
  if (entry.isFlag === true) return entry.fromOctets(params, reader) ?? (octets.length === 0 ? undefined : noValue);
  const problem = entry.fromOctets(params, reader);
  if (octets.length === 0) return someValue;
  return reader.isBroken || !isAtEnd(reader) ? "its octets are not a valid value of this key" : problem;
}

/** Reads the rest of the rdata, where keys are in ascending order. */
export function readSvcParams(reader: RdataReader): SvcParams {
  const params: SvcParams = {};
  let previous = -1;
  while (!isAtEnd(reader) && !reader.isBroken) {
    const number = readUint16(reader);
    const octets = readOctets(reader, readUint16(reader));
    if (number <= previous || number === invalidSvcParamKey) reader.isBroken = true;
    if (!reader.isBroken && addFromOctets(params, number, octets) !== undefined) reader.isBroken = true;
    previous = number;
  }
  return params;
}

export function putSvcParams(into: Rdata, params: SvcParams): void {
  for (const one of table) {
    if (!one.isPresent(params)) continue;
    putUint16(into, svcParamKeys[one.key]);
    putSized(into, () => {
      one.put(into, params);
    });
  }
  const others = Object.entries(params.other ?? {}).map(([key, data]) => [svcParamKeyFrom(key) ?? 0, data] as const);
  for (const [number, data] of others.toSorted(([a], [b]) => a - b)) {
    // A key that the table names has no second form in `other`.
    if (entries.has(number)) into.isBroken = true;
    putUint16(into, number);
    putSized(into, () => {
      putHex(into, data);
    });
  }
}

/** Faults of the parameters that the schema can't express. */
export function* faultsOfParams(params: SvcParams): Generator<Fault> {
  for (const [a, protocol] of (params.alpn ?? []).entries()) {
    if (Buffer.byteLength(protocol) > 255)
      yield { key: `params.alpn[${a}]`, message: "must not be longer than 255 octets" };
  }
  for (const [key, family] of [["ipv4hint", 4] as const, ["ipv6hint", 6] as const]) {
    for (const [h, address] of (params[key] ?? []).entries()) {
      if (isIP(address) === family) continue;
      yield { key: `params.${key}[${h}]`, message: `must be an IPv${family} address (got "${address}")` };
    }
  }
}

/** The keys of all parameters that are present, as `mandatory` names them. */
export function keysOf(params: SvcParams): string[] {
  return [...table.filter((one) => one.isPresent(params)).map((one) => one.key), ...Object.keys(params.other ?? {})];
}

/** @param pointed the name whose addresses clients connect to */
export function* rulesOfParams(params: SvcParams, pointed: string, around: Surroundings): Generator<ValueProblem> {
  const { at } = around;
  // RFC 9460 §7.1.1.
  if (params.noDefaultAlpn === true && params.alpn === undefined) {
    yield { path: at("params.noDefaultAlpn"), message: "needs alpn: without it the record offers no protocol" };
  }
  if ((params.ipv4hint ?? params.ipv6hint) !== undefined && around.isOurs(pointed)) {
    const key = params.ipv4hint === undefined ? "ipv6hint" : "ipv4hint";
    const message = `${pointed} lies in these zones, so its hints are made from its addresses: remove ${key}`;
    yield { path: at(`params.${key}`), message };
  }
  for (const key of Object.keys(params.other ?? {})) {
    const number = Number(key.slice(3));
    if (key !== `key${number}` || number < 7 || number > 65_534) {
      yield { path: at(`params.other.${key}`), message: "must be key7 to key65534, without leading zeros" };
    }
  }
  yield* rulesOfMandatory(params, at);
}

/** RFC 9460 §8. */
function* rulesOfMandatory(params: SvcParams, at: (key: string) => string): Generator<ValueProblem> {
  const keys = keysOf(params);
  for (const [m, key] of (params.mandatory ?? []).entries()) {
    const path = at(`params.mandatory[${m}]`);
    if (key === "mandatory") yield { path, message: `"mandatory" can't be listed as mandatory` };
    else if (!keys.includes(key))
      yield { path, message: `"${key}" is mandatory but not set (set: ${keys.join(", ")})` };
    else if (params.mandatory?.indexOf(key) !== m) yield { path, message: `"${key}" is listed twice` };
  }
}

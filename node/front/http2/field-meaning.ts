/**
 * What a field of a request means for the question whether its response may be ready: one number for its name, and
 * whether its value is plain. Both are found once for an entry of a dynamic table. Pure.
 */
import { areBytesOf, fieldIndex, notedFields, relayedFields } from "../request-head.ts";

/**
 * Meanings of names. From `noted` on: the fields of request-head.ts, in their order. Requests with an `other` field are
 * judged by request-fields.ts, which knows all rules.
 */
export const meaning = { other: 0, ordinary: 1, method: 2, scheme: 3, authority: 4, path: 5, te: 6, noted: 8 } as const;

/** Added to the meaning if the value is plain: no control characters, and no white space around it. */
export const plainValue = 0x80;

interface Named {
  readonly name: Buffer;
  readonly meaning: number;
}

const pseudo = { ":method": meaning.method, ":scheme": meaning.scheme, ":authority": meaning.authority } as const;
/** RFC 9113 §8.2.2, and Host, which has to agree with `:authority`. */
const others = ["connection", "proxy-connection", "keep-alive", "host", ...relayedFields].filter(
  (name) => name !== "te",
);

/** The names that matter, by length. */
const namedByLength: readonly (readonly Named[])[] = (() => {
  const table: Named[][] = Array.from({ length: 20 }, () => []);
  const add = (name: string, means: number): void => {
    table[name.length]?.push({ name: Buffer.from(name), meaning: means });
  };
  for (const [name, means] of Object.entries(pseudo)) add(name, means);
  add(":path", meaning.path);
  add("te", meaning.te);
  for (const name of others) add(name, meaning.other);
  for (const name of notedFields) if (name !== "host") add(name, meaning.noted + fieldIndex[name]);
  return table;
})();

/** @returns the meaning of a field with this name and value, with `plainValue` */
export function meaningOf(
  names: Buffer,
  nameStart: number,
  nameEnd: number,
  values: Buffer,
  valueStart: number,
  valueEnd: number,
): number {
  return meaningOfName(names, nameStart, nameEnd) | (isPlainValue(values, valueStart, valueEnd) ? plainValue : 0);
}

export function meaningOfName(bytes: Buffer, start: number, end: number): number {
  const named = namedByLength[end - start];
  if (named !== undefined) for (const one of named) if (isName(bytes, start, one.name)) return one.meaning;
  return end > start && areBytesOf("lower-case name", bytes, start, end) ? meaning.ordinary : meaning.other;
}

function isName(bytes: Buffer, start: number, name: Buffer): boolean {
  for (let index = 0; index < name.length; index += 1) if (bytes[start + index] !== name[index]) return false;
  return true;
}

const [SP, TAB] = [32, 9];

export function isPlainValue(bytes: Buffer, start: number, end: number): boolean {
  if (start === end) return true;
  const first = bytes[start];
  const last = bytes[end - 1];
  if (first === SP || first === TAB || last === SP || last === TAB) return false;
  return areBytesOf("value", bytes, start, end);
}

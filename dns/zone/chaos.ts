/**
 * Questions about the server itself: TXT records of class CH, at four names that BIND introduced (RFC 4892). The
 * operator chooses their content. Without content the answer is REFUSED.
 */
import { byteAt, putUint16 } from "../wire/bytes.ts";
import { nameFromText, type WireName } from "../wire/name.ts";
import { classes, recordTypes } from "../wire/numbers.ts";

interface ChaosAnswer {
  readonly name: WireName;
  /** The record after its owner: type, class, TTL 0, rdlength, one character-string. */
  readonly block: Uint8Array;
}

export interface ChaosAnswers {
  readonly answers: readonly ChaosAnswer[];
}

/** @param version, id undefined: not disclosed; longer texts are cut to 255 octets */
export function compileChaos(version: string | undefined, id: string | undefined): ChaosAnswers {
  return {
    answers: [
      ...answersOf(["version.bind", "version.server"], version),
      ...answersOf(["id.server", "hostname.bind"], id),
    ],
  };
}

function answersOf(names: readonly string[], text: string | undefined): ChaosAnswer[] {
  if (text === undefined) return [];
  const octets = Buffer.from(text, "utf8").subarray(0, 255);
  const block = new Uint8Array(11 + octets.length);
  putUint16(block, 0, recordTypes.TXT);
  putUint16(block, 2, classes.CH);
  putUint16(block, 8, 1 + octets.length);
  block[10] = octets.length;
  block.set(octets, 11);
  return names.flatMap((each) => {
    const name = nameFromText(each);
    return name === undefined ? [] : [{ name, block }];
  });
}

/**
 * Writes the record that answers `name` and `type`, owned by the name at `ownerAt`.
 * @returns the offset after it; -1 if it does not fit; -2 if there is no such record
 */
export function writeChaos(
  { answers }: ChaosAnswers,
  name: WireName,
  type: number,
  out: Uint8Array,
  at: number,
  limit: number,
  ownerAt: number,
): number {
  if (type !== recordTypes.TXT && type !== recordTypes.ANY) return -2;
  for (let index = 0; index < answers.length; index++) {
    const answer = answers[index];
    if (answer === undefined || !isSameName(answer.name, name)) continue;
    const { block } = answer;
    if (2 + block.length > limit - at) return -1;
    putUint16(out, at, 0xc000 | ownerAt);
    for (let i = 0; i < block.length; i++) out[at + 2 + i] = byteAt(block, i);
    return at + 2 + block.length;
  }
  return -2;
}

function isSameName(a: WireName, b: WireName): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (byteAt(a.bytes, i) !== byteAt(b.bytes, i)) return false;
  return true;
}

/** RFC 7541: compressed fields. */
import { type Case, one, goaway, ok, compression } from "./case.ts";
import { flag, frame, integer, string, type } from "./frames.ts";

const indexed = (index: number): Buffer => integer(index, 7, 0x80);
/** GET http / x, by the static table, and a literal for :authority. */
const compact = Buffer.concat([indexed(2), indexed(6), indexed(4), Buffer.from([0x01]), string("x")]);
const sectionOf = (...parts: Buffer[]): Buffer =>
  frame(type.headers, flag.endHeaders | flag.endStream, 1, Buffer.concat(parts));
const hpackError = goaway(compression);

export const hpackCases: readonly Case[] = [
  one("7541 2.3.1 fields of the static table", [sectionOf(compact)], ok),
  one("7541 2.3.3 an index beyond both tables is an error", [sectionOf(compact, indexed(70))], hpackError),
  one(
    "7541 2.3.3 the same for the name of a literal",
    [sectionOf(compact, integer(70, 6, 0x40), string("x"))],
    hpackError,
  ),
  one(
    "7541 4.2 an update of the table size at the end of a section is an error",
    [sectionOf(compact, Buffer.from([0x20]))],
    hpackError,
  ),
  one(
    "7541 4.2 updates of the table size may begin a section",
    [sectionOf(Buffer.from([0x20]), integer(4096, 5, 0x20), compact)],
    ok,
  ),
  one(
    "7541 4.3 a table of size 0 keeps no field",
    [sectionOf(Buffer.from([0x20]), compact, Buffer.from([0x40]), string("a"), string("b"), indexed(62))],
    hpackError,
  ),
  one(
    "7541 4.4 a field that is larger than the table empties it",
    [
      sectionOf(
        compact,
        Buffer.from([0x40]),
        string("a"),
        string("b"),
        Buffer.from([0x40]),
        string("c"),
        string("d".repeat(4100)),
        indexed(62),
      ),
    ],
    hpackError,
  ),
  one(
    "7541 5.1 an integer that is too large is an error",
    [sectionOf(compact, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))],
    hpackError,
  ),
  one("7541 5.1 an integer that does not end is an error", [sectionOf(compact, Buffer.from([0xff, 0x80]))], hpackError),
  one(
    "7541 5.2 a string that is longer than the section is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("a"), Buffer.from([0x7e, 0x61]))],
    hpackError,
  ),
  one(
    "7541 5.2 a string may be coded by Huffman",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from("8cf1e3c2e5f23a6ba0ab90f4ff", "hex"))],
    ok,
  ),
  one(
    "7541 5.2 padding of a string of more than 7 bits is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x82, 0x1f, 0xff]))],
    hpackError,
  ),
  one(
    "7541 5.2 padding of a string with zeros is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x81, 0x18]))],
    hpackError,
  ),
  one(
    "7541 5.2 a string with the end symbol is an error",
    [sectionOf(compact, Buffer.from([0x00]), string("x"), Buffer.from([0x84, 0xff, 0xff, 0xff, 0xff]))],
    hpackError,
  ),
  one("7541 6.1 index 0 is an error", [sectionOf(compact, indexed(0))], hpackError),
  one(
    "7541 6.2.1 an indexed literal is in the table of the next section",
    [
      sectionOf(compact, Buffer.from([0x40]), string("x-a"), string("1")),
      frame(type.headers, flag.endHeaders | flag.endStream, 3, Buffer.concat([compact, indexed(62)])),
    ],
    { response: 3 },
  ),
  one(
    "7541 6.2.3 a literal that is never indexed is not in the table",
    [sectionOf(compact, Buffer.from([0x10]), string("x-a"), string("1"), indexed(62))],
    hpackError,
  ),
  one(
    "7541 6.3 a table that is larger than allowed is an error",
    [sectionOf(integer(4097, 5, 0x20), compact)],
    hpackError,
  ),
  one(
    "7541 2.2 the section of a malformed request is decoded all the same",
    [
      sectionOf(
        compact,
        Buffer.from([0x40]),
        string("X"),
        string("1"),
        Buffer.from([0x40]),
        string("x-a"),
        string("1"),
      ),
      frame(type.headers, flag.endHeaders | flag.endStream, 3, Buffer.concat([compact, indexed(62)])),
    ],
    { response: 3 },
  ),
];

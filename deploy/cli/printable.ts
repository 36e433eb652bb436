/**
 * Text from elsewhere as it may be written to a terminal; pure. What a node answers, what others call their pictures,
 * and who they say they are can hold characters that a terminal obeys (ECMA-48: colours, titles, "clear the screen"),
 * that begin a line which nobody said, or that turn the order of what follows (Unicode UAX #9). They are shown by their
 * number instead: `\x1b`, `\u{202e}`.
 */

/** A line longer than this is no line for people: the longest of ours shows a URL of 8,192 characters. */
const lineLengthMax = 16_384;

/** A cell wider than this widens its column in every row. Names of pictures have at most 500 bytes. */
export const cellLengthMax = 512;

/**
 * Controls (C0, DEL, C1), formatting characters but the two joiners, which Persian and emoji need, line and paragraph
 * separators, and halves of surrogate pairs.
 */
const unprintable = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * One line, without the newline at its end; cut to `lengthMax` UTF-16 units. Text that is clean comes back as it is.
 */
export function printable(text: string, lengthMax = lineLengthMax): string {
  // Cut before and after: a megabyte is not worth replacing in, and numbers take up to nine times the room.
  return shortened(shortened(text, lengthMax).replace(unprintable, numbered), lengthMax);
}

/** Text of several lines, which may be indented by tabs. */
export function printableLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) =>
      line
        .split("\t")
        .map((part) => printable(part))
        .join("\t"),
    )
    .join("\n");
}

/** JSON that means the same: JSON.stringify() leaves DEL, C1, bidi controls and separators as they are. */
export function printableJson(json: string): string {
  return json.replace(unprintable, (character) => (character === "\n" ? character : escaped(character)));
}

function shortened(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax - 1)}…`;
}

function numbered(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}

function escaped(character: string): string {
  return character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
}

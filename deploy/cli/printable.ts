/**
 * Makes text from elsewhere safe for a terminal; pure. Answers of nodes, names of pictures and names of users can
 * contain characters that a terminal obeys (ECMA-48: colours, titles, "clear the screen"), that fake a new line, or
 * that reverse the order of what follows (Unicode UAX #9). They are shown as escapes instead: `\x1b`, `\u{202e}`.
 */

/** A longer line is not for people: our longest one contains a URL of 8,192 characters. */
const lineLengthMax = 16_384;

/** A cell wider than this widens its column in every row. Names of pictures have at most 500 bytes. */
export const cellLengthMax = 512;

/**
 * Controls (C0, DEL, C1), formatting characters except the two joiners, which Persian and emoji need, line and
 * paragraph separators, and unpaired surrogates.
 */
const unprintable = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * One line, without its final newline; cut to `lengthMax` UTF-16 units. Clean text is returned unchanged.
 */
export function printable(text: string, lengthMax = lineLengthMax): string {
  // Cut before and after: replacing in a megabyte would be slow, and escapes are up to nine times as long.
  return shortened(shortened(text, lengthMax).replace(unprintable, numbered), lengthMax);
}

/** Text of several lines, which may be indented with tabs. */
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

/** Equivalent JSON: JSON.stringify() does not escape DEL, C1, bidi controls and separators. */
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

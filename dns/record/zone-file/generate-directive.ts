/**
 * The syntax of $GENERATE, a BIND extension that makes records by counting.
 *
 *   $GENERATE 1-3/2 host-$ A 192.0.2.$       host-1 A 192.0.2.1, host-3 A 192.0.2.3
 *
 *   $                        the number
 *   ${offset,width,base}     number + offset, zero-padded to the width; base d, o, x, X, or n, N for nibbles
 *   \$ and $$                a dollar sign
 */
import { quote } from "./words.ts";

/** Longest left or right side of the directive. */
const templateLengthMax = 4096;
/** Longest label; a name of nibbles has fewer than twice as many characters. */
const widthMax = 255;
const numberMax = 2_147_483_647;

export interface Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
}

/** Parses `start-stop` or `start-stop/step`. @returns undefined when it is neither */
export function rangeFrom(word: string): Range | undefined {
  const [, start = "", stop = "", step = "1"] = /^(\d{1,10})-(\d{1,10})(?:\/(\d{1,10}))?$/.exec(word) ?? [];
  const range = { start: Number(start), stop: Number(stop), step: Number(step) };
  const isOne = start !== "" && range.start <= range.stop && range.stop <= numberMax && range.step > 0;
  return isOne && range.step <= numberMax ? range : undefined;
}

export function countOf({ start, stop, step }: Range): number {
  return Math.floor((stop - start) / step) + 1;
}

interface Placeholder {
  readonly offset: number;
  readonly width: number;
  readonly base: string;
}

/** Fixed texts, and between them the places of the number. */
export type Template = readonly (string | Placeholder)[];

export type ParsedTemplate = { ok: true; template: Template } | { ok: false; problem: string };

export function templateFrom(written: string): ParsedTemplate {
  if (written.length > templateLengthMax) {
    return {
      ok: false,
      problem: `a side of $GENERATE must not be longer than ${templateLengthMax} characters (got ${quote(written)})`,
    };
  }
  const parts: (string | Placeholder)[] = [];
  let text = "";
  for (let at = 0; at < written.length; at++) {
    const char = written.charAt(at);
    if (char === "\\") {
      text += written.slice(at, at + 2);
      at += 1;
    } else if (char !== "$") text += char;
    else if (written.charAt(at + 1) === "$") {
      text += "\\$";
      at += 1;
    } else {
      let placeholder: Placeholder = { offset: 0, width: 0, base: "d" };
      if (written.charAt(at + 1) === "{") {
        const end = written.indexOf("}", at);
        const inside = end < 0 ? written.slice(at) : written.slice(at, end + 1);
        const read = placeholderFrom(inside);
        if (read === undefined) {
          const wanted = `\${offset,width,base}, width 0-${widthMax}, base one of d, o, x, X, n, N`;
          return { ok: false, problem: `${quote(inside)} must be ${wanted}` };
        }
        placeholder = read;
        at = end;
      }
      parts.push(text, placeholder);
      text = "";
    }
  }
  parts.push(text);
  return { ok: true, template: parts };
}

function placeholderFrom(inside: string): Placeholder | undefined {
  const [whole, offset = "0", width = "0", base = "d"] =
    /^\$\{([+-]?\d{1,10})(?:,(\d{1,3})(?:,([doxXnN]))?)?\}$/.exec(inside) ?? [];
  const placeholder = { offset: Number(offset), width: Number(width), base };
  if (whole === undefined || placeholder.width > widthMax) return undefined;
  return Math.abs(placeholder.offset) <= numberMax ? placeholder : undefined;
}

/** @returns undefined when a number falls below 0 or above 2,147,483,647 */
export function expand(template: Template, number: number): string | undefined {
  let text = "";
  for (const part of template) {
    if (typeof part === "string") text += part;
    else {
      const value = number + part.offset;
      if (value < 0 || value > numberMax) return undefined;
      text += numberText(value, part);
    }
  }
  return text;
}

function numberText(value: number, { width, base }: Placeholder): string {
  switch (base) {
    case "o":
      return value.toString(8).padStart(width, "0");
    case "x":
      return value.toString(16).padStart(width, "0");
    case "X":
      return value.toString(16).toUpperCase().padStart(width, "0");
    case "n":
      return nibbles(value.toString(16), width);
    case "N":
      return nibbles(value.toString(16).toUpperCase(), width);
    default:
      return String(value).padStart(width, "0");
  }
}

/**
 * The hexadecimal digits from last to first, separated by dots. The width counts the dots, so an even width ends with
 * a dot, as in BIND: `${0,4,n}x` is 0.0.x.
 */
function nibbles(digits: string, width: number): string {
  const padded = digits.padStart(Math.ceil(width / 2), "0");
  const text = padded.split("").toReversed().join(".");
  return text.length < width ? `${text}.` : text;
}

/**
 * The output of a verb: its answer on standard output, as text for people or as one JSON value for programs (`--json`);
 * progress and failures on standard error, so that a pipe receives only the answer.
 *
 * Only this file of the command writes to a terminal (a test checks that), and it makes text from elsewhere printable,
 * so no verb can forget to.
 */
import { asTyped } from "#base/command-name.ts";
import type { CommandFailure } from "./exit-codes.ts";
import { cellLengthMax, printable, printableJson, printableLines } from "./printable.ts";

export interface Output {
  readonly isJson: boolean;
  /** Whether standard error is a terminal, where a line can be redrawn. */
  readonly isInteractive: boolean;
  /** The verb's answer: `value` with --json, otherwise the lines. */
  answer: (value: unknown, lines: () => readonly string[]) => void;
  /** An answer that is a file's text: byte for byte into a pipe, printable on a terminal. */
  document: (value: unknown, text: string) => void;
  /** A message to people while the verb runs: standard error, also with --json. */
  note: (line: string) => void;
  /** Replaces the previous line, on a terminal. Undefined: clears it. */
  redraw: (line: string | undefined) => void;
}

/** `columns`: the width of a terminal; a pipe has none. */
export type TextStream = Pick<NodeJS.WriteStream, "write"> & { isTTY?: boolean; columns?: number };

export function createOutput(stdout: TextStream, stderr: TextStream, isJson: boolean): Output {
  return {
    isJson,
    isInteractive: stderr.isTTY === true,
    answer(value, lines) {
      stdout.write(isJson ? jsonText(value) : lines().map(lineText).join(""));
    },
    document(value, text) {
      const whole = `${text.replace(/\n$/, "")}\n`;
      stdout.write(isJson ? jsonText(value) : stdout.isTTY === true ? printableLines(whole) : whole);
    },
    note(line) {
      stderr.write(lineText(line));
    },
    redraw(line) {
      // ECMA-48 EL: erases the rest of the previous line.
      stderr.write(line === undefined ? "\r\u001b[K" : `\r${printable(line)}\u001b[K`);
    },
  };
}

function lineText(line: string): string {
  return `${printable(line)}\n`;
}

function jsonText(value: unknown): string {
  return `${printableJson(JSON.stringify(value, null, 2))}\n`;
}

export function writeFailure(stderr: TextStream, failure: CommandFailure, isJson: boolean): void {
  if (isJson) {
    const { exitCode, code, message, lines } = failure;
    stderr.write(jsonText({ error: { message, code, exitCode, lines } }));
    return;
  }
  const lines = [`nearcast: ${failure.message}`, ...failure.lines.map((line) => `  ${line}`)];
  // The lines may come from the origin or a node, which write commands in their own notation.
  stderr.write(lines.map((line) => lineText(asTyped(line))).join(""));
}

/** Text of several lines that no verb wrote: a stack, or commander's message about the command line. */
export function writeText(stream: TextStream, text: string): void {
  stream.write(printableLines(text));
}

/**
 * Columns as wide as their widest cell, separated by two spaces; numbers are right-aligned. Cells are made printable
 * here, since escaped characters need more space.
 */
export function tableLines(
  heads: readonly string[],
  rows: readonly (readonly (string | number | undefined | null)[])[],
): string[] {
  const cells = [
    [...heads],
    ...rows.map((row) => heads.map((_head, column) => printable(String(row[column] ?? "-"), cellLengthMax))),
  ];
  // Not Math.max(...all): a large fleet has more pictures than a call can have arguments.
  const widths = heads.map((_head, column) =>
    cells.reduce((widest, row) => Math.max(widest, (row[column] ?? "").length), 0),
  );
  const isNumeric = heads.map((_head, column) => rows.every((row) => typeof row[column] === "number"));
  return cells.map((row) =>
    row
      .map((cell, column) =>
        isNumeric[column] === true ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd(),
  );
}

/** Bytes as people read them: `312 kB`, `4.1 MB`. */
export function sizeText(sizeBytes: number): string {
  if (sizeBytes < 1000) return `${sizeBytes} B`;
  for (const [unit, factor] of [
    ["kB", 1e3],
    ["MB", 1e6],
    ["GB", 1e9],
  ] as const) {
    const amount = sizeBytes / factor;
    if (amount < 999.5) return `${amount < 10 ? amount.toFixed(1) : amount.toFixed(0)} ${unit}`;
  }
  return `${(sizeBytes / 1e12).toFixed(1)} TB`;
}

/** A time of the API (ISO 8601, UTC) as people read it, in this machine's zone: `2026-03-01 12:00:07 +01:00`. */
export function timeText(iso: string): string {
  const time = new Date(iso);
  if (Number.isNaN(time.getTime())) return iso;
  const two = (number: number): string => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const aheadMinutes = -time.getTimezoneOffset();
  const [hours, minutes] = [Math.floor(Math.abs(aheadMinutes) / 60), Math.abs(aheadMinutes) % 60];
  const zone = `${aheadMinutes < 0 ? "-" : "+"}${two(hours)}:${two(minutes)}`;
  return `${day} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone}`;
}

/** A node's answer with times in ISO 8601: `validatedAtMs: 1772362807000` becomes `validatedAt: "2026-03-01T…"`. */
export function withDates(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withDates);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) =>
      key.endsWith("AtMs") && typeof inner === "number" && Math.abs(inner) <= timeMsMax
        ? [key.slice(0, -"Ms".length), new Date(inner).toISOString()]
        : [key, withDates(inner)],
    ),
  );
}

/** ECMA-262: the largest date. */
const timeMsMax = 8.64e15;

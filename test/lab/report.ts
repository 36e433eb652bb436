/** What a run of the lab found: a table for people, one JSON value for programs. Pure. */
import type { Measured, Row } from "./drill.ts";

export interface LabReport {
  readonly form: "short" | "long" | "chosen";
  readonly delays: "netem" | "relay";
  /** Rows were judged by their targets times this. */
  readonly ceilings: number;
  readonly tookMs: number;
  readonly isOk: boolean;
  readonly rows: readonly Row[];
}

/** Stands wherever the figures do. */
export const caveat =
  "Times are detection and withdrawal in the lab; how long the internet takes to agree is not in them.";

const columns = ["", "drill", "n", "recovered", "most", "lost", "most", "remark"] as const;

export function tableLines({ rows, tookMs, isOk, delays, ceilings }: LabReport): string[] {
  const groups = ["BGP", "DNS only"] as const;
  const cells = rows.map((row) => ({ group: row.group, cells: cellsOf(row) }));
  const widths = columns.map((column, index) =>
    Math.max(column.length, ...cells.map((line) => line.cells[index]?.length ?? 0)),
  );
  const line = (words: readonly string[]): string =>
    words
      .map((word, index) =>
        index >= 2 && index <= 6 ? word.padStart(widths[index] ?? 0) : word.padEnd(widths[index] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [
    ...groups.flatMap((group) => {
      const own = cells.filter((one) => one.group === group);
      return own.length === 0 ? [] : [group, line(columns), ...own.map((one) => line(one.cells)), ""];
    }),
    caveat,
    ...(ceilings === 1 ? [] : [`Judged by ${ceilings} times the targets shown.`]),
    `${isOk ? "all targets met" : "TARGETS MISSED"} in ${(tookMs / 1000).toFixed(1)} s, link delays by ${delays}`,
  ];
}

function cellsOf(row: Row): string[] {
  return [
    row.isOk ? "ok" : "FAIL",
    row.title,
    String(row.n),
    milliseconds(row.recoveryMs),
    milliseconds(row.recoveryMsMax),
    lostCell(row),
    row.lostMax === null ? "" : String(row.lostMax),
    row.note,
  ];
}

function milliseconds(value: number | null): string {
  return value === null ? "" : `${Math.round(value)} ms`;
}

function lostCell({ lost, asked }: Measured): string {
  if (lost === null) return "";
  return asked === null ? String(lost) : `${lost} of ${asked}`;
}

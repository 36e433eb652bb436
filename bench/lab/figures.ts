/**
 * Turns samples into the figures that are printed: medians, ratios, tables. Pure.
 *
 * Contenders alternate (A B C A B C …), so the n-th samples of two of them were taken at about the same time: a ratio
 * is the median of the ratios of all rounds, which a temporary slowdown of the machine hardly affects.
 */
import assert from "node:assert/strict";

/** One run of a driver against one server. */
export interface Sample {
  requests: number;
  perSecond: number;
  /** CPU time of all the server's processes, per request. */
  cpuMicros: number;
  p50Ms: number;
  p99Ms: number;
}

/** Response times at a rate that is the same for all contenders. */
export interface Times {
  p50Ms: number;
  p99Ms: number;
  p999Ms: number;
}

export interface Table {
  title: string;
  columns: readonly string[];
  rows: readonly (readonly string[])[];
}

/** The result of one question. */
export interface Report {
  question: string;
  tables: readonly Table[];
  /** What readers need to interpret the tables, such as versions and settings. */
  notes: readonly string[];
  /** Peers that were not measured, each with the reason. */
  absent: readonly string[];
  /** All samples, for `--json`. */
  samples: Readonly<Record<string, unknown>>;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value below which `part` of the values lie, interpolated between neighbours. */
export function quantile(values: readonly number[], part: number): number {
  assert.ok(values.length > 0, "a quantile of nothing");
  const sorted = values.toSorted((a, b) => a - b);
  const position = part * (sorted.length - 1);
  const below = sorted[Math.floor(position)] ?? 0;
  const above = sorted[Math.ceil(position)] ?? 0;
  return below + (above - below) * (position - Math.floor(position));
}

/** The median of a / b over all rounds. */
function ratio(a: readonly number[], b: readonly number[]): number {
  assert.equal(a.length, b.length, "ratios need as many rounds of the one as of the other");
  return median(a.map((value, round) => value / (b[round] ?? Number.NaN)));
}

/** Three significant digits: 0.123, 1.23, 12.3, 123, 1,234. */
export function digits(value: number): string {
  assert.ok(Number.isFinite(value), `${value} is no figure`);
  const places = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** The median, with the lowest and highest round in brackets. */
function withSpread(values: readonly number[]): string {
  return `${digits(median(values))} (${digits(Math.min(...values))}–${digits(Math.max(...values))})`;
}

/** A Markdown table with aligned columns, readable in a terminal and in README.md. */
export function renderTable({ title, columns, rows }: Table): string {
  const widths = columns.map((column, index) => Math.max(column.length, ...rows.map((row) => row[index]?.length ?? 0)));
  // The first column is left-aligned; figures are right-aligned.
  const padded = (cell: string, index: number): string => {
    const width = widths[index] ?? 0;
    return index === 0 ? cell.padEnd(width) : cell.padStart(width);
  };
  const line = (cells: readonly string[]): string => `| ${cells.map(padded).join(" | ")} |`;
  const rule = line(widths.map((width, index) => (index === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)));
  return [`**${title}**`, "", line(columns), rule, ...rows.map(line)].join("\n");
}

/**
 * The table of one comparison.
 *
 * @param against the contender that the ratio is relative to; if it was not measured, the ratio stays empty
 * @param times absent: the times are those of the saturated server
 */
export function comparison(
  title: string,
  samples: ReadonlyMap<string, readonly Sample[]>,
  against: string,
  times?: ReadonlyMap<string, Times>,
): Table {
  const base = samples.get(against);
  const of = (list: readonly Sample[], key: keyof Sample): number[] => list.map((sample) => sample[key]);
  const timesOf = (name: string, list: readonly Sample[]): string[] => {
    const steady = times?.get(name);
    if (steady !== undefined) return [steady.p50Ms, steady.p99Ms, steady.p999Ms].map(digits);
    return [digits(median(of(list, "p50Ms"))), digits(median(of(list, "p99Ms")))];
  };
  const timeColumns = ["p50 ms", "p99 ms", ...(times === undefined ? [] : ["p99.9 ms"])];
  return {
    title,
    columns: ["server", "requests/s", "CPU µs/request (lowest–highest)", ...timeColumns, `CPU, ${against} = 1`],
    rows: [...samples].map(([name, list]) => [
      name,
      digits(Math.round(median(of(list, "perSecond")))),
      withSpread(of(list, "cpuMicros")),
      ...timesOf(name, list),
      base === undefined ? "–" : ratio(of(list, "cpuMicros"), of(base, "cpuMicros")).toFixed(2),
    ]),
  };
}

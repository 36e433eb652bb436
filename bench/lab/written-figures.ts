/**
 * The place of a benchmark's figures in bench/README.md: between two marks that bear its name. A run replaces the
 * figures of the benchmarks that it measured and leaves all others as they are. Pure.
 */

function marks(benchmark: string): [start: string, end: string] {
  return [`<!-- figures: ${benchmark} -->`, `<!-- /figures: ${benchmark} -->`];
}

/** Whether the page has a place for the figures of this benchmark. */
export function hasPlace(page: string, benchmark: string): boolean {
  const [start, end] = marks(benchmark);
  return page.includes(start) && page.indexOf(end) > page.indexOf(start);
}

/** The page with new figures, wrapped, in the place that `hasPlace` found. */
export function withFigures(page: string, benchmark: string, figures: string): string {
  const [start, end] = marks(benchmark);
  const lines = figures.split("\n").flatMap(wrapLine).join("\n");
  return `${page.slice(0, page.indexOf(start) + start.length)}\n\n${lines}\n\n${page.slice(page.indexOf(end))}`;
}

/** Wraps prose to the page width; a table row stays on one line. */
function wrapLine(line: string): string[] {
  const columnsMax = 120;
  if (line.startsWith("|") || line.length <= columnsMax) return [line];
  const indent = line.startsWith("- ") ? "  " : "";
  const at = line.lastIndexOf(" ", columnsMax);
  return at <= indent.length ? [line] : [line.slice(0, at), ...wrapLine(indent + line.slice(at + 1))];
}

/**
 * Draws the sites on a map of the world, for a terminal: dots are populated areas, in cells of five degrees by six.
 *
 *   ●  up     ◐  draining     ○  down
 *
 * A site's name is to the right of its mark, or to the left if the right is taken; marks have priority over names.
 */
export interface MapSite {
  name: string;
  state: string;
  /** Degrees north and east. */
  latitude: number;
  longitude: number;
}

/** From 75° north to 57° south, from 180° west to 180° east. */
const land = [
  "    . .       .    ..                  ....          .                  ",
  "  ...... .. .      .        .  ...   ........ ......        .           ",
  "   .... ...... . .                ..................  ... ....    .     ",
  "         .........  . .         .............................. .  .     ",
  "          ................        ..................... .. ......       ",
  "           .............          ...................... .........      ",
  "           ...........            .   ..................    .........   ",
  "            .........           ...............................         ",
  "             .... ....              ..    ....................          ",
  "              .........      .....       ......  ...........            ",
  "                 ........      .......... ....    ... .... ...          ",
  "                   .......       .......  ....    ...  ........         ",
  "                 ............        ... .....    .    ..........       ",
  "                   ...........        .......        .     .........    ",
  "                    .........         ........         .     .......    ",
  "                    .........         ...... . .           .......      ",
  "                    .......           ...... . .          ..  . ...     ",
  "                    ......            ....               ... .....      ",
  "                     .....             ...                 ..  ....   . ",
  "                     ...                                         .   .. ",
  "                     ..                                              .  ",
  "                     ..                                                 ",
];
const top = 75;
const bottom = -57;
const width = 72;

const marks: Readonly<Record<string, string>> = { up: "●", draining: "◐", down: "○" };

/** The lines of the map; empty when there is nothing to show. */
export function mapLines(sites: readonly MapSite[]): string[] {
  if (sites.length === 0) return [];
  const cells = land.map((row) => row.split(""));
  const spots = sites.map(({ name, state, latitude, longitude }) => ({
    name,
    mark: marks[state] ?? "?",
    row: within(Math.floor(((top - latitude) / (top - bottom)) * land.length), land.length),
    column: within(Math.floor(((longitude + 180) / 360) * width), width),
  }));
  const taken = new Set(spots.map(({ row, column }) => `${row}:${column}`));
  const isFree = (row: number, from: number, length: number): boolean =>
    from >= 0 &&
    from + length <= width &&
    Array.from({ length }, (_, at) => `${row}:${from + at}`).every((cell) => !taken.has(cell));
  for (const { name, mark, row, column } of spots) {
    const line = cells[row];
    if (line === undefined) continue;
    line[column] = mark;
    const label = [
      { from: column + 1, text: ` ${name}` },
      { from: column - 1 - name.length, text: `${name} ` },
    ].find(({ from, text }) => isFree(row, from, text.length));
    if (label === undefined) continue;
    const { from, text } = label;
    for (const [at, letter] of text.split("").entries()) {
      line[from + at] = letter;
      taken.add(`${row}:${from + at}`);
    }
  }
  return cells.map((row) => row.join("").trimEnd());
}

function within(index: number, length: number): number {
  return Math.min(length - 1, Math.max(0, index));
}

/** Texts that make a careless pattern go quadratic: one piece again and again, and something at the end to fail at. */

/** Pieces that fields of HTTP and lists in them are made of. */
export const shapes: readonly string[] = [
  " ",
  "\t",
  ",",
  '"',
  "1",
  "0",
  "a",
  "=",
  ";",
  "-",
  "\\",
  "/",
  ";q=",
  'W/"',
  ", ",
  " ,",
  '""',
  '\\"',
  "a,",
  "a ",
  "; q=0 ",
  "1-1,",
  '"a",',
  "%41",
];

/** @param opening what has to stand before the pieces for a reader to go on reading */
export function hostileText(opening: string, shape: string, length: number): string {
  const count = Math.max(0, Math.floor((length - opening.length - 1) / shape.length));
  return `${opening}${shape.repeat(count)}x`;
}

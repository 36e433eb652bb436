/** All cases for a server of files: GET and HEAD are allowed, all other methods are not. */
import { conditionsAndRanges } from "./conditions.ts";
import { fieldLines } from "./fields.ts";
import { framings } from "./framing.ts";
import type { RawCase } from "./raw-case.ts";
import { requestLines } from "./request-lines.ts";
import { pipelines, requestTargets } from "./targets.ts";

export const corpus: readonly RawCase[] = [
  ...requestLines,
  ...requestTargets,
  ...pipelines,
  ...fieldLines,
  ...framings,
  ...conditionsAndRanges,
];

/** By a case's name: what we answer although the RFC says otherwise. */
export const deviations: ReadonlyMap<string, string> = new Map([
  // Node's parser takes RTSP/1.0 for HTTP/1.0, and does not tell. No client of a cache speaks it.
  ["RTSP", "200"],
]);

import { equal } from "node:assert/strict";
import { test } from "node:test";
import { linesOfYaml } from "#base/yaml-lines.ts";

const lineOf = linesOfYaml(`# line 1
sites:
  - name: fra
    place: { latitude: 50,
      longitude: 8 }
  - &nyc
    name: nyc
copies: [*nyc]
presets:
  "400":
    w: 400
`);

const rows: [path: string, line: number | undefined, why: string][] = [
  ["sites", 2, "a key of the document"],
  ["sites[0]", 3, "an entry of a list"],
  ["sites[0].place.longitude", 5, "a key in braces over two lines"],
  ["sites[1].name", 7, "a key below an anchor"],
  ["copies[0].name", 7, "an alias stands where its anchor is"],
  ["presets[400].w", 11, "a key that is a number"],
  ["sites[0].state", 3, "what is missing, by what it is missing from"],
  ["hosts", undefined, "missing from the document itself"],
  ["sites[7].name", undefined, "a way that leads nowhere"],
  ["zones/more, line 2", undefined, "a place in another file"],
  ["", undefined, "the whole document"],
];

for (const [path, line, why] of rows) test(`${path || "(empty)"}: ${why}`, () => equal(lineOf(path), line));

/**
 * How long does an edge with a full disk cache take to be ready, and how much memory does its index take? A disk tier
 * of a million objects is opened by new processes, which say what they measured.
 */
import { join } from "node:path";
import { digits, median, type Report } from "./lab/figures.ts";
import type { Lab } from "./lab/lab.ts";

const objectsCount = 1_000_000;
/** The tags of a variant of a picture: its source and its host; and one of the user's. */
const tagsPerObject = 3;
const runMs = 600_000;

interface Opened {
  readonly entries: number;
  readonly tookMs: number;
  readonly cpuMs: number;
  readonly residentBytes: number;
  readonly indexBytes: number;
}

export async function measureDiskStart(lab: Lab): Promise<Report> {
  const program = new URL("lab/disk-opener.ts", import.meta.url).pathname;
  const directory = join(lab.directory, "disk-start");
  const run = async (what: "fill" | "open"): Promise<Opened> => {
    const args = [program, what, directory, String(objectsCount), String(tagsPerObject)];
    const text = await lab.run({ name: `disk tier, ${what}`, command: process.execPath, args, pin: "server" }, runMs);
    return JSON.parse(text) as Opened;
  };
  lab.say(`writing ${objectsCount} objects`);
  await run("fill");
  const opened: Opened[] = [];
  for (let round = 0; round < lab.rounds; round += 1) opened.push(await run("open"));
  const ofOpened = (figure: (one: Opened) => number): string => digits(median(opened.map(figure)));
  const perObject = (bytes: (one: Opened) => number): string => digits(median(opened.map(bytes)) / objectsCount);
  return {
    question: "disk-start",
    tables: [
      {
        title: "Start with a million objects on disk, page cache warm",
        columns: ["nearcast", "figure"],
        rows: [
          ["ms until the disk tier is ready", ofOpened(({ tookMs }) => tookMs)],
          ["ms of CPU time until then", ofOpened(({ cpuMs }) => cpuMs)],
          ["bytes of the index, per object", perObject(({ indexBytes }) => indexBytes)],
          ["resident bytes that the start added, per object", perObject(({ residentBytes }) => residentBytes)],
        ],
      },
    ],
    notes: [`${objectsCount} objects of 100 bytes with ${tagsPerObject} tags each; all of the index is read back`],
    absent: [],
    samples: { opened },
  };
}

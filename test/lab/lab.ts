/** One run, inside its space: build, start, drill after drill, report. */
import type { Random } from "#base/random.ts";
import { startCdn } from "./cdn.ts";
import { hold, type Lab, type Row } from "./drill.ts";
import { drillRounds } from "./drills.ts";
import { machineMs } from "./machine-clock.ts";
import { buildNetwork, kernelHasNetem } from "./network.ts";
import { openPlaces } from "./vantage-points.ts";
import { createCrew } from "./processes.ts";
import type { LabReport } from "./report.ts";
import { furnish, labDirectory } from "./space.ts";

export interface LabOptions {
  readonly isShort: boolean;
  /** Rows are judged by their targets times this. */
  readonly ceilings: number;
  /** Names of drills; empty: all. */
  readonly only: readonly string[];
  readonly random: Random;
  /** A line of progress. */
  readonly say: (line: string) => void;
  /** Told when the drills are over and everything still stands. */
  readonly done: (report: LabReport) => Promise<void>;
}

export async function runLab({ isShort, ceilings, only, random, say, done }: LabOptions): Promise<LabReport> {
  const startedMs = machineMs();
  const rounds = drillRounds(isShort, only);
  await furnish();
  const crew = createCrew(`${labDirectory}/log`);
  try {
    const network = await buildNetwork(crew, await kernelHasNetem());
    say(`an internet with link delays by ${network.delays}`);
    const [cdn, places] = await Promise.all([startCdn(crew, say), openPlaces(crew)]);
    say("six edges are ready");
    const lab: Lab = { crew, network, cdn, places, random, isShort, ceilings, say };
    const rows: Row[] = [];
    for (const round of rounds) {
      rows.push(...(await Promise.all(round.map((drill) => hold(drill, lab)))).flat());
    }
    const report: LabReport = {
      form: only.length > 0 ? "chosen" : isShort ? "short" : "long",
      delays: network.delays,
      ceilings,
      tookMs: machineMs() - startedMs,
      isOk: rows.every(({ isOk }) => isOk),
      rows,
    };
    await done(report);
    return report;
  } finally {
    await crew.close();
  }
}

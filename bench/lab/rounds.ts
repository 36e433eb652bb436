/** The order of measurements: a warm-up each, then all contenders alternate, round after round. */
import type { Sample } from "./figures.ts";
import type { Lab } from "./lab.ts";

export interface Contender {
  name: string;
  measure: (seconds: number) => Promise<Sample>;
}

/** Until V8 has compiled what a hit runs; a server in production runs for weeks. */
const warmUpSeconds = 4;

/** The failure of one contender ends the comparison: a table with missing rounds would compare nothing. */
export async function takeTurns(lab: Lab, contenders: readonly Contender[]): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (const { measure } of contenders) await measure(warmUpSeconds);
  for (let round = 1; round <= lab.rounds; round += 1) {
    for (const { name, measure } of contenders) samples.get(name)?.push(await measure(lab.seconds));
  }
  return samples;
}

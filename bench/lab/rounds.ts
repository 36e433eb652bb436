/** The order of measuring: one warm-up each, then all contenders in turns, round after round. */
import type { Sample } from "./figures.ts";
import type { Lab } from "./lab.ts";

export interface Contender {
  name: string;
  measure: (seconds: number) => Promise<Sample>;
}

/** A failure of one of them ends the comparison: a table with holes in its rounds would compare nothing. */
export async function takeTurns(lab: Lab, contenders: readonly Contender[]): Promise<Map<string, Sample[]>> {
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (const { measure } of contenders) await measure(1);
  for (let round = 1; round <= lab.rounds; round += 1) {
    for (const { name, measure } of contenders) samples.get(name)?.push(await measure(lab.seconds));
  }
  return samples;
}

/** Lanes that all tests of a file share: starting a thread for each test would take most of its time. */
import { after, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { lanesMissing, openLanes, type Lanes } from "../../node/front/lane/lanes.ts";
import { keptLog } from "./kept-log.ts";
import { needs } from "./needs.ts";

let lanes: Promise<Lanes> | undefined;

after(async () => {
  await (await lanes)?.close();
});

/** Undefined: there can be none here, and the test is skipped. */
export async function sharedLanes(t: TestContext): Promise<Lanes | undefined> {
  const missing = lanesMissing();
  if (!needs(t, missing === undefined, missing ?? "")) return undefined;
  lanes ??= openLanes({ count: 1, clock: systemClock, log: keptLog().log });
  return await lanes;
}

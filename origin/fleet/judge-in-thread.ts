/**
 * Judges fleet documents outside the main thread, which must answer edges: 4 MiB take two seconds.
 *
 *   cases take turns ──▶ short: in place     long: judge-thread.ts, one at a time
 */
import { NearcastError } from "#base/errors.ts";
import { type Checked, deepFreeze } from "#base/schema.ts";
import { inThread } from "#base/task-thread.ts";
import { type FleetCase, type FleetJudgement, judgeFleet } from "./judge-document.ts";

/** Two short documents take some ten milliseconds together; starting a thread takes a hundred. */
const apartFromCharacters = 32 * 1024;
/** A slow machine under load takes ten seconds for the longest documents. */
const limits = { msMax: 60_000, heapMegabytesMax: 1536 };
/** People and scripts publish occasionally; more than this at once is a mistake. */
const waitingMax = 8;

/** @throws NearcastError OVERLOADED */
export type JudgeFleet = (one: FleetCase) => Promise<Checked<FleetJudgement>>;

export function openFleetJudging(): JudgeFleet {
  let waiting = 0;
  let turn: Promise<unknown> = Promise.resolve();
  return async (one) => {
    if (waiting >= waitingMax)
      throw new NearcastError("OVERLOADED", `${waitingMax} fleet documents are being checked; try again in a moment`);
    waiting += 1;
    const mine = turn.then(async () => await judge(one));
    turn = mine.catch(() => undefined);
    try {
      return await mine;
    } finally {
      waiting -= 1;
    }
  };
}

async function judge(one: FleetCase): Promise<Checked<FleetJudgement>> {
  if (one.text.length + (one.before?.length ?? 0) < apartFromCharacters) return judgeFleet(one);
  try {
    const file = new URL("./judge-thread.ts", import.meta.url);
    const judged = await inThread<Checked<FleetJudgement>>(file, one, limits);
    // Copies from another thread are not frozen.
    return judged.ok ? { ok: true, value: deepFreeze(judged.value) } : judged;
  } catch (error) {
    const message = `the document could not be read: ${(error as Error).message}`;
    return { ok: false, problems: [{ path: "", message }] };
  }
}

/** Draining: GRACEFUL_SHUTDOWN (RFC 8326), a wait, the withdrawal; and taking a drain back. */
import { sleep } from "#base/clock.ts";
import { goodbyeMs, type Holding, inTime, settle } from "./lease-holding.ts";

const takenBack = new Error("taken back");

/** @param signal of this drain: aborted when it is hurried, cancelled or closed */
export async function shutDown(holding: Holding, signal: AbortSignal): Promise<void> {
  const { options, facts } = holding;
  const isAnnounced = holding.state.announced.length > 0;
  facts.phase = isAnnounced ? "shutting-down" : "withdrawn";
  settle(holding);
  if (!isAnnounced) return;
  await sleep(options.clock, options.announce.shutdownMs, signal).catch(() => undefined); // hurried: continue at once
  // Cancelled meanwhile: undrain() has already set the new state.
  if (signal.reason === takenBack) return;
  if (options.isAlone(facts.wanted.prefixes)) {
    options.log.warn(
      {},
      "drained, but no other node announces the anycast prefixes: they stay announced with GRACEFUL_SHUTDOWN",
    );
    facts.isStaying = true;
    return;
  }
  await withdraw(holding);
}

export async function withdraw(holding: Holding): Promise<void> {
  holding.facts.isStaying = false;
  holding.facts.phase = "withdrawn";
  settle(holding);
  await withdrawn(holding);
}

/** Resolves when nothing is announced, or after a time limit. */
async function withdrawn(holding: Holding): Promise<void> {
  let wake = (): void => undefined;
  const gone = new Promise<void>((resolve) => {
    wake = () => {
      if (holding.state.announced.length === 0) resolve();
    };
  });
  holding.waiting.add(wake);
  wake();
  await inTime(holding.options, goodbyeMs, () => gone, undefined);
  holding.waiting.delete(wake);
}

export function undrain(holding: Holding): void {
  if (holding.draining === undefined) return;
  holding.hurried.abort(takenBack);
  holding.hurried = new AbortController();
  holding.draining = undefined;
  holding.facts.isStaying = false;
  holding.facts.phase = "serving";
  settle(holding);
}

/** The self-checks of the lease: when they run, and what their results mean for the announcement. */
import { checked, isWrong, rise } from "./damping.ts";
import { down, type Holding, inTime, settle } from "./lease-holding.ts";
import type { SelfCheck } from "./self-check.ts";

/** Intervals between the starts of two checks, and their random spread, which keeps processes out of step. */
const checkMs = { right: 1000, wrong: 500, spread: 0.1 } as const;
/** A check that has not ended by then fails, whatever it waits for. */
const checkMsMost = 900;
/** The deadline for other nodes to report whether they are healthy. */
const askMsMost = 500;

/** Checks at once, then repeatedly until the lease is closed. */
export async function keepChecking(holding: Holding): Promise<void> {
  const { options, facts } = holding;
  const { clock, random } = options;
  const startedMs = clock.monotonicMs();
  if (facts.wanted.prefixes.length > 0) await check(holding);
  if (facts.isClosed) return;
  const least = facts.wrong === undefined ? checkMs.right : checkMs.wrong;
  const everyMs = least * (1 + checkMs.spread * (random() - 0.5));
  holding.cancelCheck = clock.after(Math.max(everyMs - (clock.monotonicMs() - startedMs), 10), () => {
    void keepChecking(holding);
  });
}

/** Runs one check, and acts on its result. */
async function check(holding: Holding): Promise<void> {
  const { options, facts, dampingSettings } = holding;
  const late = { ok: false, reason: "the self-check did not finish in time" } as const;
  const result = await inTime<SelfCheck>(options, checkMsMost, options.selfCheck, late);
  if (facts.isClosed) return;
  facts.damping = checked(facts.damping, result.ok, options.clock.monotonicMs());
  facts.wrong = result.ok ? undefined : result.reason;
  if (result.ok) facts.isKept = false;
  const isIll = facts.damping.isUp && isWrong(facts.damping, dampingSettings);
  const isBack = !facts.damping.isUp && result.ok && facts.damping.falls > 0;
  // A node that announces nothing need not ask others.
  if (isIll && facts.phase === "withdrawn") down(holding, facts.wrong ?? "", null);
  else if (isIll || isBack) await askOthers(holding, isIll);
  settle(holding);
}

/**
 * Whether a failing node withdraws, and whether a recovered one may skip its back-off, depends on the other sites.
 * @param isIll its answers are wrong and it is announced; false: its answers are correct again after a withdrawal
 */
async function askOthers(holding: Holding, isIll: boolean): Promise<void> {
  const { options, facts } = holding;
  const { prefixes } = facts.wanted;
  const hasOthers = await inTime(options, askMsMost, () => options.mayFall(prefixes), false);
  // Meanwhile another document may have arrived, to which the answer does not apply.
  if (prefixes !== facts.wanted.prefixes) return;
  if (isIll && hasOthers) down(holding, facts.wrong ?? "", null);
  // A stall may have happened meanwhile.
  else if (isIll && facts.damping.isUp) keep(holding);
  else if (!isIll && !hasOthers && facts.damping.rights > 0) {
    facts.damping = rise(facts.damping, options.clock.monotonicMs());
  }
}

function keep({ options, facts }: Holding): void {
  if (!facts.isKept) {
    options.log.warn(
      { reason: facts.wrong },
      "the node's own answers are wrong, but no other site is healthy: the prefixes stay announced",
    );
  }
  facts.isKept = true;
}

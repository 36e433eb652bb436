/** The rules for responses on their way, with the defaults of the configuration. */
import type { Clock } from "#base/clock.ts";
import { openByteBudget } from "../../node/deliver/byte-budget.ts";
import { openHeldBodies } from "../../node/deliver/held-bodies.ts";
import { openTurns } from "../../node/deliver/turns.ts";
import type { TransferRules } from "../../node/deliver/transfer.ts";

export function openTransfers(
  clock: Clock,
  rules: { bytesMax?: number; bytesPerSecondMin?: number } = {},
): TransferRules {
  const { bytesMax = 256 * 1024 * 1024, bytesPerSecondMin = 1024 } = rules;
  const budget = openByteBudget(bytesMax, clock);
  return { budget, held: openHeldBodies(budget), turns: openTurns(), bytesPerSecondMin, clock };
}

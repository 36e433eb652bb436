/** The rules for responses on their way, with the defaults of the configuration. */
import type { Clock } from "#base/clock.ts";
import { openByteBudget } from "../../node/deliver/byte-budget.ts";
import { openTurns } from "../../node/deliver/turns.ts";
import type { TransferRules } from "../../node/deliver/transfer.ts";

export function openTransfers(
  clock: Clock,
  rules: { bytesMax?: number; bytesPerSecondMin?: number } = {},
): TransferRules {
  const { bytesMax = 256 * 1024 * 1024, bytesPerSecondMin = 1024 } = rules;
  return { budget: openByteBudget(bytesMax, clock), turns: openTurns(), bytesPerSecondMin, clock };
}

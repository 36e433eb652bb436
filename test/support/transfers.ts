/** The rules for responses on their way, with the defaults of the configuration. */
import type { Clock } from "#base/clock.ts";
import { openTransferRules, type TransferRules } from "../../node/deliver/transfer.ts";

export function openTransfers(
  clock: Clock,
  rules: { bytesMax?: number; bytesPerSecondMin?: number } = {},
): TransferRules {
  const { bytesMax = 256 * 1024 * 1024, bytesPerSecondMin = 1024 } = rules;
  return openTransferRules({ inFlightBytes: bytesMax, bytesPerSecondMin }, clock);
}

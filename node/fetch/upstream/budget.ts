/**
 * A budget for extra requests (retries, hedges): a share of the ordinary ones, saved up to a limit. So extra requests
 * can never multiply the load on an origin that is in trouble. A token bucket that requests fill; pure.
 */

export interface BudgetSettings {
  /** The part of an extra request that each ordinary request earns: 0.1 allows one for ten. */
  readonly perRequest: number;
  /** What each second earns, for an origin with few requests. */
  readonly perSecond: number;
  /** Extra requests that can be saved up, and so the largest burst of them. */
  readonly savedMax: number;
  readonly savedAtStart: number;
}

export interface Budget {
  readonly settings: BudgetSettings;
  saved: number;
  lastMs: number;
}

export function createBudget(settings: BudgetSettings, nowMs: number): Budget {
  return { settings, saved: settings.savedAtStart, lastMs: nowMs };
}

/** Notes that an ordinary request is sent. */
export function earn(budget: Budget): void {
  const { perRequest, savedMax } = budget.settings;
  budget.saved = Math.min(savedMax, budget.saved + perRequest);
}

/** Whether an extra request may be sent; if so, it is paid for. */
export function trySpend(budget: Budget, nowMs: number): boolean {
  if (!canSpend(budget, nowMs)) return false;
  budget.saved -= 1;
  return true;
}

/** Whether trySpend() would allow one now. */
export function canSpend(budget: Budget, nowMs: number): boolean {
  const { perSecond, savedMax } = budget.settings;
  const passedSeconds = Math.max(0, nowMs - budget.lastMs) / 1000;
  budget.saved = Math.min(savedMax, budget.saved + passedSeconds * perSecond);
  budget.lastMs = nowMs;
  return budget.saved >= 1;
}

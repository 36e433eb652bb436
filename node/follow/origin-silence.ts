/**
 * The warning of a node that hears nothing from the origin. The node continues to serve what it has, so this is no
 * reason to take it out of service, but its operator should know that purges and changes don't arrive. Pure.
 *
 *   heartbeat every 2 s ──▶ silent for warnAfterMs: warning ──▶ silent for 7 s: the feed is reopened (feed.ts)
 */

/** Two heartbeats are missing and the third is late. */
const warnAfterMs = 5000;

/**
 * @param heardAtMs monotonic, of the last byte of the feed; null: never
 * @param startedAtMs monotonic, when this node began to follow the feed
 * @returns undefined while all is well
 */
export function silenceOf(heardAtMs: number | null, startedAtMs: number, nowMs: number): string | undefined {
  const silentMs = nowMs - (heardAtMs ?? startedAtMs);
  if (silentMs < warnAfterMs) return undefined;
  const since = heardAtMs === null ? "since this node started" : `for ${Math.floor(silentMs / 1000)} s`;
  return (
    `the origin has sent nothing ${since}: purges and changes do not arrive, and pictures that are not cached ` +
    "fail; cached ones are still served. Check that the origin is running and that this machine can reach it"
  );
}

/**
 * How long the meaning of a name is valid, by the settings of the host, and whether a meaning that another node sent is
 * recent enough to be used. Pure.
 */
import type { ImagesHost } from "#document/schema/hosts.ts";
import { type Freshness, judgeUse } from "../cache/freshness.ts";
import type { SourceRecord } from "../cache/records.ts";
import { UnfitAnswer } from "./peers.ts";

type Meaning = SourceRecord["meaning"];

export function freshnessOf(
  { meaning, validatedAtMs }: Pick<SourceRecord, "meaning" | "validatedAtMs">,
  host: ImagesHost,
): Freshness {
  const isAbsent = "absentStatus" in meaning;
  return {
    bornAtMs: validatedAtMs,
    lifetimeSeconds: isAbsent ? host.negativeSeconds : host.freshSeconds,
    staleWhileRevalidateSeconds: isAbsent ? 0 : host.staleWhileRevalidateSeconds,
    staleIfErrorSeconds: isAbsent ? host.negativeSeconds : host.staleIfErrorSeconds,
  };
}

/**
 * How long to wait for an origin that may only be slow. Null: until it answers or fails, because somebody has replaced
 * the picture and wants to see the new one.
 */
export function staleWaitMsOf({ mark }: Pick<SourceRecord, "mark">, host: ImagesHost): number | null {
  return mark === "replaced" ? null : host.staleWaitMs;
}

/** Allows for the time on the way, and for a node whose fleet document is a version ahead or behind. */
const graceMs = 5000;

/**
 * A node never answers with anything past all windows of the host, so one that does is compromised or broken.
 * @throws UnfitAnswer
 */
export function mustBeUsable(meaning: Meaning, ageMs: number, host: ImagesHost): void {
  const { state, ageSeconds } = judgeUse(
    freshnessOf({ meaning, validatedAtMs: 0 }, host),
    Math.max(0, ageMs - graceMs),
  );
  if (state !== "expired") return;
  throw new UnfitAnswer(`it was validated more than ${ageSeconds} s ago, which is past the host's windows`);
}

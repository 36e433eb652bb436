/** Shared by the findings about BIRD's sessions. */
import { command } from "#base/command-name.ts";
import type { AnnouncementPlan } from "../announcement-plan.ts";
import type { BirdSession, BirdState } from "../bird-state.ts";
import { sameAddress } from "./same-address.ts";

export function sessionWith(state: BirdState, address: string): BirdSession | undefined {
  return state.sessions.find(({ neighbor }) => neighbor !== undefined && sameAddress(neighbor, address));
}

/** The state of a session, as BIRD prints it. */
export function wordsOf({ state, lastError }: BirdSession): string {
  return [state ?? "?", lastError].filter((word) => word !== undefined).join(", ");
}

export function configAgain({ site, processes }: AnnouncementPlan): string {
  const more = processes === 1 ? "" : ` --processes ${processes}`;
  return `${command} bgp config --site ${site}${more} --output /etc/bird/bird.conf && birdc configure`;
}

/** What this node tells probes about itself: those of other nodes, peers, the origin, and load balancers. */
import type { Presence } from "../http/app.ts";
import type { EdgeSetup } from "./setup.ts";

/**
 * Draining when the node takes no new clients; starting until it can answer everything that clients request. With DNS,
 * that is when the responder answers: that of this process, or of another one that shares its ports. The system gives
 * queries only to processes that have bound the ports, and a process binds them when it can answer.
 */
export function presenceTold(setup: Pick<EdgeSetup, "config" | "parts" | "siblings">): Presence {
  const { config, parts, siblings } = setup;
  if (parts.presence !== "ready") return parts.presence;
  if (parts.membership?.standing() !== "listed") return "draining";
  if (config.dns.addresses.length === 0 || parts.dns?.answers() === true) return "ready";
  return siblings.total().answersDns ? "ready" : "starting";
}

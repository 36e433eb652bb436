/** Why this node gets no clients (`/readyz`), and warnings about a node that does. */
import { silenceOf } from "#follow/origin-silence.ts";
import type { Standing } from "./phases/membership.ts";
import type { OpenedEdge } from "./opened-edge.ts";

/** Empty when the node is ready. */
export function unreadyReasons(edge: OpenedEdge): string[] {
  const { setup, directory, upstreams, membership, dns } = edge;
  const { config, parts } = setup;
  const reasons: string[] = [];
  const why = parts.presence === "ready" ? whyNotListed(membership.standing()) : ownReason(parts.presence);
  if (why !== undefined) reasons.push(why);
  const complaint = upstreams.origin.tokenComplaint(directory.tokenFile.path);
  if (complaint !== undefined) reasons.push(complaint);
  if (membership.current() === null) reasons.push(whyNoFleet(edge));
  if (config.dns.addresses.length > 0 && !dns.answers()) reasons.push("DNS does not answer yet");
  return reasons;
}

/** Warnings do not make a node unready. */
export function warnings(edge: OpenedEdge): string[] {
  return [feedWarning(edge), tokenWarning(edge)].filter((one) => one !== undefined);
}

export function feedWarning({ setup, upstreams, following }: OpenedEdge): string | undefined {
  // An origin that refuses the token does answer.
  if (upstreams.origin.tokenRefusal() !== null) return undefined;
  return silenceOf(following.feed.heardAtMs(), following.followedFromMs, setup.clock.monotonicMs());
}

export function tokenWarning({ upstreams, link }: OpenedEdge): string | undefined {
  return upstreams.origin.tokenRefusal() === null ? link.nextToken.warning() : undefined;
}

function whyNoFleet({ directory }: OpenedEdge): string {
  const lost = directory.damaged.find(({ what }) => what === "fleet document");
  if (lost === undefined) return "no fleet document: the origin has not been reached, or it has published none";
  return `no fleet document: ${lost.file} is damaged, and this node has not reached the origin since it started`;
}

function ownReason(presence: "starting" | "draining"): string {
  return presence === "starting" ? "starting" : "draining: this process is stopping";
}

/** Why the fleet gives this node no clients, and what to do; undefined when it does. */
function whyNotListed(standing: Standing): string | undefined {
  switch (standing) {
    case "listed":
      return undefined;
    case "draining":
      return "drained by an operator: `nearcast undrain` brings it back";
    case "removed":
      return "removed from the fleet: stop nearcast on its machine";
    case "absent":
      return "not a node of this fleet: run `nearcast join`, or stop nearcast on its machine if the node was removed";
  }
}

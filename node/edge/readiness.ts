/** Why this node gets no clients, and what its owner should know although it gets some. */
import { silenceOf } from "#follow/origin-silence.ts";
import type { Standing } from "./phases/membership.ts";
import type { OpenedEdge } from "./opened-edge.ts";

/** Nothing: the node is ready. */
export function unreadyReasons(edge: OpenedEdge): string[] {
  const { setup, directory, upstreams, membership, dns } = edge;
  const { config, parts } = setup;
  const reasons: string[] = [];
  const why = parts.presence === "ready" ? whyNotListed(membership.standing()) : parts.presence;
  if (why !== undefined) reasons.push(why);
  const complaint = upstreams.origin.tokenComplaint(directory.tokenFile.path);
  if (complaint !== undefined) reasons.push(complaint);
  if (membership.current() === null) reasons.push(whyNoFleet(edge));
  if (config.dns.addresses.length > 0 && dns.version() === 0) reasons.push("DNS does not answer yet");
  return reasons;
}

/** None of them is a reason to send clients elsewhere. */
export function warnings(edge: OpenedEdge): string[] {
  return [feedWarning(edge), tokenWarning(edge)].filter((one) => one !== undefined);
}

export function feedWarning({ setup, upstreams, following }: OpenedEdge): string | undefined {
  // An origin that refuses the token is not silent.
  if (upstreams.origin.tokenRefusal() !== null) return undefined;
  return silenceOf(following.feed.heardAtMs(), following.followedFromMs, setup.clock.monotonicMs());
}

export function tokenWarning({ upstreams, link }: OpenedEdge): string | undefined {
  return upstreams.origin.tokenRefusal() === null ? link.nextToken.warning() : undefined;
}

function whyNoFleet({ directory }: OpenedEdge): string {
  const lost = directory.damaged.find(({ what }) => what === "fleet document");
  if (lost === undefined) return "no fleet document: the origin was never reached";
  return `no fleet document: ${lost.file} is damaged, and the origin was not reached since the start`;
}

/** Undefined: the fleet counts on this node. Otherwise why not, and what to do about it. */
function whyNotListed(standing: Standing): string | undefined {
  switch (standing) {
    case "listed":
      return undefined;
    case "draining":
      return "drained by an operator: `nearcast undrain` ends it";
    case "removed":
      return "removed from the fleet; stop nearcast on its machine";
    case "absent":
      return "not a node of this fleet: `nearcast join` makes it one; if it was removed, stop nearcast on its machine";
  }
}

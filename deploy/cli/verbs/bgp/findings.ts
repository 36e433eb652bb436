/**
 * The verdicts of `nearcast bgp check`: takes facts about a node and returns findings, each with advice. Pure. Each
 * part is a file in findings/.
 *
 *   plan       the fleet document says what this site announces, and to whom
 *   prefixes   short enough for the internet (/24, /48)
 *   addresses  the service addresses are on lo, permanently
 *   kernel     packets that arrive and leave on different paths are not dropped (rp_filter); ARP
 *   dns, http  a UDP socket for each service address, and a TCP socket; something serves HTTP there
 *   bird       it answers
 *   guard      only the edge can take the lease: the session's key, and the per-user rule
 *   lease      each edge process has a session, which is up and announces
 *   routers    sessions up, hold times as short as planned, BFD up, no graceful restart
 */
import { type AnnouncementPlan, announcementPlan, families } from "./announcement-plan.ts";
import type { Finding } from "./findings/finding.ts";
import { guardFindings } from "./findings/lease-guard.ts";
import { leaseFindings } from "./findings/lease-session.ts";
import { addressFindings, kernelFindings } from "./findings/machine.ts";
import { routerFindings } from "./findings/router-sessions.ts";
import { dnsFindings, httpFindings } from "./findings/services.ts";
import type { Facts } from "./machine-facts.ts";

/** Longer prefixes are dropped by most of the internet's routers. */
const longestAnnounced = { 4: 24, 6: 48 } as const;

export function judge(facts: Facts): Finding[] {
  const planned = planOf(facts);
  if (!planned.ok) return [planned.finding, ...birdFindings(facts)];
  const { plan, finding } = planned;
  return [
    finding,
    ...prefixFindings(plan),
    ...addressFindings(facts, plan),
    ...kernelFindings(facts, plan),
    ...dnsFindings(facts, plan),
    ...httpFindings(facts, plan),
    ...birdFindings(facts),
    ...guardFindings(facts, plan),
    ...(facts.bird.ok
      ? [...leaseFindings(facts, plan, facts.bird.state), ...routerFindings(facts, plan, facts.bird.state)]
      : []),
  ];
}

type JudgedPlan =
  | { readonly ok: true; readonly plan: AnnouncementPlan; readonly finding: Finding }
  | { readonly ok: false; readonly finding: Finding };

function planOf({ edge, fleet, fleetReason, processes }: Facts): JudgedPlan {
  if (fleet === undefined) {
    const what = fleetReason ?? "no fleet document was read";
    return { ok: false, finding: { level: "fail", about: "plan", what, mend: "use a file: --file fleet.yaml" } };
  }
  const planned = announcementPlan(fleet, { site: edge.site, processes });
  if (!planned.ok) {
    const [hint] = planned.hints;
    const finding: Finding = { level: "fail", about: "plan", what: planned.reason };
    return { ok: false, finding: hint === undefined ? finding : { ...finding, mend: hint } };
  }
  const { plan } = planned;
  const prefixes = families.flatMap((family) => plan.prefixes[family]).join(", ");
  const what = `site ${plan.site} announces ${prefixes} as AS ${plan.as}`;
  return { ok: true, plan, finding: { level: "ok", about: "plan", what } };
}

function* prefixFindings(plan: AnnouncementPlan): Generator<Finding> {
  const all = families.flatMap((family) => plan.prefixes[family].map((prefix) => ({ family, prefix })));
  const tooLong = all.filter(({ family, prefix }) => Number(prefix.split("/")[1]) > longestAnnounced[family]);
  for (const { family, prefix } of tooLong) {
    yield {
      level: "warn",
      about: "prefixes",
      what: `${prefix} is longer than /${longestAnnounced[family]}: other networks drop it`,
      mend: "announce the covering prefix, or let your own routers aggregate it",
    };
  }
  if (tooLong.length === 0) yield { level: "ok", about: "prefixes", what: "no prefix is too long for the internet" };
}

function* birdFindings({ bird }: Facts): Generator<Finding> {
  if (bird.ok) {
    const { version, routerId } = bird.state;
    yield { level: "ok", about: "bird", what: `BIRD ${version ?? "?"} answers, router id ${routerId ?? "not known"}` };
    return;
  }
  const isForbidden = bird.reason.endsWith("permission denied");
  yield {
    level: "fail",
    about: "bird",
    what: `BIRD can't be reached: ${bird.reason}`,
    mend: isForbidden ? "run this as root, or as a member of the group bird" : "systemctl status bird",
  };
}

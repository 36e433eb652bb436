/** The fleet as this node sees it, for `nearcast status`: sites, their nodes, states with reasons, loads. */
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { Prober } from "#health/prober.ts";
import { sitePressures } from "#health/site-pressure.ts";
import { dateOf } from "../tls/certificate.ts";

export function describeSites(
  fleet: Fleet | null,
  prober: Pick<Prober, "health" | "answers" | "sites" | "loads" | "keptShares">,
  certificates: { expiryMs: (node: string) => number | undefined; nowMs: number },
): Record<string, unknown>[] {
  if (fleet === null) return [];
  const [health, answers, states] = [prober.health(), prober.answers(), prober.sites()];
  const pressures = sitePressures(fleet, health, answers);
  return fleet.sites.map((site) => ({
    name: site.name,
    place: site.place,
    state: states.get(site.name) ?? "unknown",
    reason: reasonOf(site),
    pressure: pressures.get(site.name) ?? null,
    requestsPerSecond: prober.loads().get(site.name) ?? null,
    keptShare: prober.keptShares().get(site.name) ?? 1,
    addresses: [...site.addresses, ...site.nodes.flatMap(({ addresses }) => addresses)],
    nodes: site.nodes.map(({ name }) => {
      const known = health.get(name);
      const expiryMs = certificates.expiryMs(name);
      const isExpired = expiryMs !== undefined && expiryMs <= certificates.nowMs;
      const reason = known?.reason ?? "not probed yet";
      const { load, unreachable, ...answer } = answers.get(name) ?? {};
      return {
        name,
        state: known?.state ?? "unknown",
        reason: isExpired ? `its certificate expired on ${dateOf(expiryMs)}; ${reason}` : reason,
        ...(known?.isUnproven === true ? { isUnproven: true } : {}),
        ...(load === undefined ? {} : { requestsPerSecond: load }),
        ...(expiryMs === undefined ? {} : { certificateExpires: dateOf(expiryMs) }),
        ...answer,
        ...(unreachable === undefined || unreachable.length === 0 ? {} : { unreachable }),
      };
    }),
  }));
}

/** Why the site has its state, if probes do not decide it; null if its nodes do. */
function reasonOf({ state, addresses, nodes }: Site): string | null {
  if (addresses.length === 0 && nodes.every((node) => node.addresses.length === 0)) return "no node has an address";
  return state === "auto" ? null : `\`state: ${state}\` in the fleet document`;
}

/**
 * The settings of nearcast-daisy.service: the node to which this one forwards TCP segments of connections that it does
 * not have. Pure; deploy/bird/daisy-chain.nft explains the purpose.
 */
import { type AnnouncementPlan, families, type Planned } from "./announcement-plan.ts";

export type DaisyChained = { readonly ok: true; readonly text: string } | Extract<Planned, { readonly ok: false }>;

/** @param peer the neighbor of this node, at the same site and on the same LAN */
export function daisyChain(plan: AnnouncementPlan, peer: string): DaisyChained {
  const node = plan.nodes.find(({ name }) => name === peer);
  const others = plan.nodes.map(({ name }) => name).filter((name) => name !== plan.node);
  if (node === undefined || peer === plan.node) {
    const reason =
      node === undefined ? `site ${plan.site} has no node "${peer}"` : `${peer} can't pass connections on to itself`;
    return { ok: false, reason, hints: [`choose another node of the site: ${others.join(", ") || "there is none"}`] };
  }
  const served = families.filter((family) => plan.addresses[family].length > 0);
  const untold = served.filter((family) => node.addresses[family] === undefined);
  if (untold.length === served.length) {
    return {
      ok: false,
      reason: `the fleet document has no address for ${peer}`,
      hints: ["add `peer: { host: … }` to it"],
    };
  }
  const kept = served.filter((family) => !untold.includes(family));
  return {
    ok: true,
    text: [
      `# ${plan.node ?? "This node"} passes TCP segments of unknown connections on to ${peer}.`,
      "# Made by `nearcast bgp config --daisy-chain`; nearcast-daisy.service reads /etc/nearcast/daisy-chain.env",
      ...untold.map(
        (family) => `# IPv${family}: the fleet document has no address for ${peer}, so such connections break.`,
      ),
      ...kept.flatMap((family) => [
        `PEER${family}="${node.addresses[family] ?? ""}"`,
        `SERVICE${family}="${plan.addresses[family].join(", ")}"`,
      ]),
      'PORTS="80, 443"',
      "",
    ].join("\n"),
  };
}

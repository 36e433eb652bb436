/** Warns of sites that DNS can't answer with, because neither they nor their nodes have an address; pure. */
import type { Fleet } from "#document/document.ts";
import type { FleetWarning } from "./fleet-warning.ts";

/** @param fleet with its roster: all nodes of a site may have joined */
export function emptySiteWarnings({ sites }: Fleet): FleetWarning[] {
  return sites.flatMap(({ name, addresses, nodes }, index) => {
    if (addresses.length > 0 || nodes.some((node) => node.addresses.length > 0)) return [];
    return [
      {
        path: `sites[${index}]`,
        value: name,
        message: `site ${name} has no node with an address, so DNS does not answer with it`,
        advice: "join a node with an address to it",
      },
    ];
  });
}

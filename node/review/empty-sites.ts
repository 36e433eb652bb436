/** Warns of sites that DNS can't name, because neither they nor their nodes have an address; pure. */
import type { Fleet } from "#document/document.ts";
import type { FleetWarning } from "./fleet-warning.ts";

/** @param fleet with its roster: a site may have no nodes but those that joined it */
export function emptySiteWarnings({ sites }: Fleet): FleetWarning[] {
  return sites.flatMap(({ name, addresses, nodes }, index) => {
    if (addresses.length > 0 || nodes.some((node) => node.addresses.length > 0)) return [];
    return [
      {
        path: `sites[${index}]`,
        value: name,
        message: `site ${name} has no node with an address, so DNS does not name it`,
        advice: "let a node with an address join it",
      },
    ];
  });
}

/**
 * The file that nearcast-addresses.service reads: the service addresses on lo. Pure.
 *
 * They stay on lo permanently, whether the node announces them or not: if an address disappears before its route, the
 * machine refuses clients that still arrive.
 */
import { type AnnouncementPlan, families } from "./announcement-plan.ts";

/** One address with its full prefix length per line; `#` starts a comment. */
export function addressFile(plan: AnnouncementPlan): string {
  const lengths = { 4: 32, 6: 128 } as const;
  return [
    `# Service addresses of site ${plan.site} (clouds ${plan.clouds.join(", ")}) for lo, from the fleet document.`,
    "# nearcast-addresses.service puts them there: /etc/nearcast/addresses",
    ...families.flatMap((family) => plan.addresses[family].map((address) => `${address}/${lengths[family]}`)),
    "",
  ].join("\n");
}

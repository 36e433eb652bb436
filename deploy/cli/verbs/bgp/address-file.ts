/**
 * The file that nearcast-addresses.service reads: which service addresses stand on lo. Pure.
 *
 * They stand there for good, whether the node announces or not: an address that goes before its route does makes
 * clients meet a machine that refuses them.
 */
import { type AnnouncementPlan, families } from "./announcement-plan.ts";

/** One address with its full length on each line; `#` begins a comment. */
export function addressFile(plan: AnnouncementPlan): string {
  const lengths = { 4: 32, 6: 128 } as const;
  return [
    `# Service addresses of site ${plan.site} (clouds ${plan.clouds.join(", ")}) for lo, from the fleet document.`,
    "# nearcast-addresses.service puts them there: /etc/nearcast/addresses",
    ...families.flatMap((family) => plan.addresses[family].map((address) => `${address}/${lengths[family]}`)),
    "",
  ].join("\n");
}

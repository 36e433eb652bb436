/** At which URL this node wants to be probed, if not at the one in the fleet document. Pure. */
import type { EdgeConfig } from "../config.ts";

/**
 * HTTPS at the address at which it is probed over HTTP, if it listens there; or what the settings name.
 * @param http of this node in the fleet document
 */
export function probeUrlOf(
  { probeUrl, https }: Pick<EdgeConfig, "probeUrl" | "https">,
  http: string | undefined,
): string | undefined {
  if (probeUrl !== undefined) return probeUrl;
  if (https === undefined || http === undefined) return undefined;
  const { hostname } = new URL(http);
  const wanted = hostname.replace(/^\[|\]$/g, "");
  const wildcard = wanted.includes(":") ? "::" : "0.0.0.0";
  const there = https.addresses.find(({ host, port }) => port !== 0 && (host === wanted || host === wildcard));
  return there === undefined ? undefined : `https://${hostname}:${there.port}`;
}

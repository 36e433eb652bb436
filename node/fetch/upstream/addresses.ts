/**
 * The addresses of an origin's host, for one new connection, and whether the edge may connect to them. The connection
 * goes to exactly the address that was checked here. Nothing resolves the name again in between, so DNS rebinding gains
 * nothing.
 */
import { lookup } from "node:dns/promises";
import { BlockList, isIP, isIPv4 } from "node:net";
import { NearcastError } from "#base/errors.ts";
import { embeddedIpv4 } from "#base/embedded-ipv4.ts";
import { isSpecial } from "#base/networks.ts";

/** Which addresses an origin may have. */
export type AddressPolicy =
  /** All of them: the operator of this edge chose the origin. */
  | { readonly kind: "any" }
  /** Public addresses, and those of these networks: someone else may have chosen the origin. */
  | { readonly kind: "public"; readonly except: BlockList };

/** For origins of assets hosts. @param privateNetworks prefixes such as `10.0.0.0/8`, which the schema has checked */
export function publicExcept(privateNetworks: readonly string[]): AddressPolicy {
  const except = new BlockList();
  for (const prefix of privateNetworks) {
    const [address = "", bits = ""] = prefix.split("/");
    except.addSubnet(address, Number(bits), isIPv4(address) ? "ipv4" : "ipv6");
  }
  return { kind: "public", except };
}

export function isAllowed(policy: AddressPolicy, address: string): boolean {
  if (policy.kind === "any" || !isSpecial(address)) return true;
  // The IPv6 form of an IPv4 address is judged by that address: a listed network applies to both notations.
  const inside = embeddedIpv4(address);
  return (inside.length > 0 ? inside : [address]).every(
    (one) => !isSpecial(one) || policy.except.check(one, isIPv4(one) ? "ipv4" : "ipv6"),
  );
}

/** Look-ups in progress, by name: connections that are opened at the same time share one. */
const underWay = new Map<string, Promise<readonly string[]>>();

/**
 * @param hostname a name, or an address without brackets
 * @returns the allowed addresses, in the system's order (RFC 6724)
 * @throws NearcastError ORIGIN_NOT_ALLOWED, or the error of the look-up
 */
export async function allowedAddresses(hostname: string, policy: AddressPolicy): Promise<readonly string[]> {
  const all = isIP(hostname) === 0 ? await resolve(hostname) : [hostname];
  const allowed = all.filter((address) => isAllowed(policy, address));
  if (allowed.length > 0) return allowed;
  const where = all[0] === hostname ? hostname : `${hostname} has the address ${all[0]}, which`;
  throw new NearcastError(
    "ORIGIN_NOT_ALLOWED",
    `${where} is in a private or special network; to allow it, list the network in assets.privateNetworks of the ` +
      "edge configuration",
  );
}

async function resolve(hostname: string): Promise<readonly string[]> {
  let work = underWay.get(hostname);
  if (work === undefined) {
    work = lookup(hostname, { all: true, order: "verbatim" })
      .then((found) => found.map(({ address }) => address))
      .finally(() => underWay.delete(hostname));
    underWay.set(hostname, work);
  }
  return await work;
}

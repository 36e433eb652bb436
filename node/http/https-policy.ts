/**
 * The HTTPS rules of hosts of the fleet document: redirects for requests without TLS, and HSTS in responses over TLS
 * (RFC 6797). The front and the application both use this. Pure.
 */
import type { Fleet } from "#document/document.ts";
import type { Host } from "#document/schema/hosts.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { EdgeConfig } from "../config.ts";
import type { Delivery } from "../deliver/outcome.ts";
import { hostOf, parseTarget } from "./target.ts";

/** Certificate authorities fetch their challenges over HTTP (RFC 8555 §8.3). */
const neverRedirected = "/.well-known/acme-challenge/";

export interface Redirect {
  readonly host: Host;
  readonly location: string;
}

/**
 * Where a request without TLS is sent; undefined: it is answered. Only the host's own name is redirected: a bare
 * address, which also leads to a host, has no certificate.
 * @param publicPort of HTTPS
 */
export function redirectOf(
  document: Fleet,
  request: { readonly target: string; readonly host: string | undefined },
  publicPort: number,
): Redirect | undefined {
  const hosts = redirectingIn(document);
  if (hosts.size === 0) return undefined;
  const target = parseTarget(request.target);
  if (target.outcome === "rejected" || target.path.startsWith(neverRedirected)) return undefined;
  const name = hostOf(target.authority ?? request.host);
  const host = name === null ? undefined : hosts.get(name);
  if (host === undefined) return undefined;
  const port = publicPort === 443 ? "" : `:${publicPort}`;
  const query = target.query === "" ? "" : `?${target.query}`;
  return { host, location: `https://${name}${port}${target.path}${query}` };
}

/**
 * The port that redirects lead to; 443 on a node without HTTPS of its own, because something in front of it may speak
 * TLS.
 */
export function publicPortOf({ https }: Pick<EdgeConfig, "https">): number {
  const port = https?.publicPort ?? https?.addresses[0]?.port ?? 0;
  return port === 0 ? 443 : port;
}

const hostsByDocument = new WeakMap<Fleet, ReadonlyMap<string, Host>>();

/** Hosts that redirect, by name; read once per document. */
function redirectingIn(document: Fleet): ReadonlyMap<string, Host> {
  let hosts = hostsByDocument.get(document);
  if (hosts === undefined) {
    const redirecting = document.hosts.filter(({ redirectToHttps }) => redirectToHttps === true);
    hosts = new Map(redirecting.map((host) => [canonicalName(host.name), host]));
    hostsByDocument.set(document, hosts);
  }
  return hosts;
}

/** Names of the hosts whose clients are redirected to HTTPS. */
export function redirectingHosts(document: Fleet): string[] {
  return [...redirectingIn(document).values()].map(({ name }) => name);
}

/** The value of Strict-Transport-Security; undefined: the host has no such policy. */
export function hstsOf({ hsts }: Host): string | undefined {
  if (hsts === undefined) return undefined;
  const { maxAgeSeconds, includeSubDomains, preload } = hsts;
  return `max-age=${maxAgeSeconds}${includeSubDomains ? "; includeSubDomains" : ""}${preload ? "; preload" : ""}`;
}

/** The delivery as the host wants it over TLS. */
export function overTls(delivery: Delivery, host: Host): Delivery {
  const hsts = hstsOf(host);
  if (hsts === undefined) return delivery;
  return { ...delivery, headers: [...delivery.headers, ["Strict-Transport-Security", hsts]] };
}

/** Checks that the edge answers DNS and HTTP on the service addresses. */
import { counted } from "#base/counted.ts";
import { canonicalAddress } from "#base/ip-text.ts";
import { type AnnouncementPlan, families } from "../announcement-plan.ts";
import type { Facts } from "../machine-facts.ts";
import type { Finding } from "./finding.ts";
import { sameAddress } from "./same-address.ts";

export function* dnsFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const configured = facts.edge.dns.addresses;
  const served = nameserverAddresses(facts);
  let good = 0;
  for (const address of families.flatMap((family) => plan.addresses[family])) {
    const listener = configured.find(({ host }) => sameAddress(host, address));
    const ns = served.get(canonicalAddress(address));
    if (listener === undefined) {
      // An address for HTTP only, unless a nameserver has it.
      if (ns === undefined) continue;
      const wild = configured.find(({ host }) => covers(host, address));
      yield {
        level: "fail",
        about: "dns",
        what:
          wild === undefined
            ? `nameserver ${ns} has the address ${address}, but this node does not answer DNS there`
            : `DNS on ${wild.host} answers queries to ${address} from another address, so resolvers drop the answers`,
        mend: `edge.yaml: dns.addresses: [{ host: ${quoted(address)}, port: 53 }]`,
      };
      continue;
    }
    const isBound = (transport: "udp" | "tcp"): boolean =>
      facts.sockets.some(
        (socket) =>
          socket.transport === transport && socket.port === listener.port && sameAddress(socket.address, address),
      );
    const absent = (["udp", "tcp"] as const).filter((transport) => !isBound(transport));
    if (absent.length === 0) good += 1;
    else {
      yield {
        level: "fail",
        about: "dns",
        what: `nothing listens for DNS on ${address} port ${listener.port} (${absent.join(", ")})`,
        mend: "is the edge running? systemctl status nearcast-edge",
      };
    }
    if (ns !== undefined && listener.port !== 53) {
      yield {
        level: "fail",
        about: "dns",
        what: `nameserver ${ns} has the address ${address}, but DNS is on port ${listener.port}; resolvers use 53`,
        mend: `edge.yaml: dns.addresses: [{ host: ${quoted(address)}, port: 53 }]`,
      };
    }
  }
  if (good > 0)
    yield {
      level: "ok",
      about: "dns",
      what: `UDP and TCP answer on ${counted(good, "service address", "service addresses")}`,
    };
}

/** Addresses of the zones' nameservers, each with the name of a nameserver that has it. */
function nameserverAddresses({ fleet }: Facts): Map<string, string> {
  const pairs = (fleet?.zones ?? []).flatMap(({ nameservers }) =>
    nameservers.flatMap(({ name, addresses }) =>
      addresses.map((address): [string, string] => [canonicalAddress(address), name]),
    ),
  );
  return new Map(pairs);
}

export function* httpFindings({ edge, fleet }: Facts, plan: AnnouncementPlan): Generator<Finding> {
  // HTTP clients reach these addresses only through names with the policy `anycast`.
  const answered = new Set((fleet?.anycast.addresses ?? []).map(canonicalAddress));
  const wanted = families
    .flatMap((family) => plan.addresses[family])
    .filter((one) => answered.has(canonicalAddress(one)));
  const deaf = wanted.filter(
    (address) => !edge.http.some(({ host }) => sameAddress(host, address) || covers(host, address)),
  );
  for (const address of deaf) {
    yield {
      level: "fail",
      about: "http",
      what: `names with the policy anycast resolve to ${address}, but this node does not serve HTTP there`,
      mend: `edge.yaml: http: [{ host: ${quoted(address)}, port: 80 }]`,
    };
  }
  if (wanted.length > 0 && deaf.length === 0)
    yield { level: "ok", about: "http", what: "HTTP is served on all anycast addresses" };
}

/** A wildcard socket of an edge receives packets of its own family only. */
function covers(wildcard: string, address: string): boolean {
  return isWildcard(wildcard) && wildcard.includes(":") === address.includes(":");
}

function isWildcard(address: string): boolean {
  return address === "0.0.0.0" || canonicalAddress(address) === "::";
}

function quoted(address: string): string {
  return address.includes(":") ? `"${address}"` : address;
}

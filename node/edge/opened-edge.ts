/** Everything that the phases up to the feed have opened, for the applications and the last phase. */
import type { Caches } from "./phases/caches.ts";
import type { DataDirectory } from "./phases/data-directory.ts";
import type { DnsHosting } from "./phases/dns-hosting.ts";
import type { Following } from "./phases/feed-following.ts";
import type { Membership } from "./phases/membership.ts";
import type { OriginLink } from "./phases/origin-link.ts";
import type { Probing } from "./phases/probing.ts";
import type { Servers } from "./phases/servers.ts";
import type { EdgeSetup } from "./setup.ts";
import type { TlsPart } from "./phases/tls.ts";
import type { Upstreams } from "./phases/upstreams.ts";

export interface OpenedEdge {
  setup: EdgeSetup;
  directory: DataDirectory;
  upstreams: Upstreams;
  caches: Caches;
  membership: Membership;
  servers: Servers;
  probing: Probing;
  link: OriginLink;
  dns: DnsHosting;
  following: Following;
  /** Null: this node does not serve HTTPS. */
  tls: TlsPart | null;
}

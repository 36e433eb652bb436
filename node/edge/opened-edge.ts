/** All that the phases up to the feed have opened: what the applications and the last phase need. */
import type { Caches } from "./caches.ts";
import type { DataDirectory } from "./data-directory.ts";
import type { DnsHosting } from "./dns-hosting.ts";
import type { Following } from "./following.ts";
import type { Membership } from "./membership.ts";
import type { OriginLink } from "./origin-link.ts";
import type { Probing } from "./probing.ts";
import type { Serving } from "./serving.ts";
import type { EdgeSetup } from "./setup.ts";
import type { Upstreams } from "./upstreams.ts";

export interface OpenedEdge {
  setup: EdgeSetup;
  directory: DataDirectory;
  upstreams: Upstreams;
  caches: Caches;
  membership: Membership;
  serving: Serving;
  probing: Probing;
  link: OriginLink;
  dns: DnsHosting;
  following: Following;
}

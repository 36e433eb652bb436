/** The clients of the origin and of the origins of `assets` hosts. */
import { type AssetFetcher, openAssetFetcher } from "../../fetch/asset.ts";
import { openOriginClient, type OriginClient } from "../../fetch/origin.ts";
import type { DataDirectory } from "./data-directory.ts";
import type { EdgeSetup } from "../setup.ts";

export interface Upstreams {
  origin: OriginClient;
  fetcher: AssetFetcher;
}

export function openUpstreams(setup: EdgeSetup, { tokenFile }: DataDirectory): Upstreams {
  const { config, lifecycle, clock, random, log } = setup;
  const origin = openOriginClient({
    url: config.origin.url,
    token: tokenFile,
    clock,
    random,
    onTokenRefused: () => {
      log.error(
        { reason: origin.tokenComplaint(tokenFile.path) },
        "the origin refuses this node's token; serving from cache",
      );
    },
  });
  lifecycle.defer("origin client", origin.close);
  const fetcher = openAssetFetcher({
    node: config.node,
    privateNetworks: config.assets.privateNetworks,
    clock,
    random,
  });
  lifecycle.defer("asset fetcher", fetcher.close);
  return { origin, fetcher };
}

/** The lanes that own the connections of clients, if the configuration wants some and the machine allows them. */
import { availableParallelism } from "node:os";
import { ConfigError } from "#base/read-config.ts";
import { type Lanes, lanesMissing, openLanes } from "../../front/lane/lanes.ts";
import type { SharedReady } from "../../front/lane/running-lane.ts";
import type { LaneTlsParts } from "../../front/lane/tls-orders.ts";
import { lanesMax } from "../../front/ready/ready-memory.ts";
import type { EdgeSetup } from "../setup.ts";

/** @throws ConfigError if a number of lanes is configured, and there can be none */
export function requireLanes({ config: { front } }: Pick<EdgeSetup, "config">): void {
  if (front.lanes === 0 || front.lanes === "auto") return;
  const reason = lanesMissing();
  if (reason === undefined) return;
  const message = `is ${front.lanes}, but lanes can't run here: ${reason}. Set it to 0 or \`auto\``;
  throw new ConfigError("the configuration", [{ path: "front.lanes", message }]);
}

/**
 * Undefined: the main thread owns the connections.
 * @param ready responses that the lanes may send themselves
 * @param tls for listeners with TLS; undefined: there are none
 */
export async function openClientLanes(
  { config, process, lifecycle, parts, clock, log }: EdgeSetup,
  ready: SharedReady | undefined,
  tls: LaneTlsParts | undefined,
): Promise<Lanes | undefined> {
  const wanted = config.front.lanes;
  if (wanted === 0) return undefined;
  const reason = lanesMissing();
  if (reason !== undefined) {
    log.info({ reason }, "lanes can't run here: the main thread owns the connections of clients");
    return undefined;
  }
  const free = Math.floor((availableParallelism() - 1) / process.count);
  const count = wanted === "auto" ? Math.min(lanesMax, Math.max(1, free)) : wanted;
  const lanes = await openLanes({ count, ready, tls, clock, log });
  lifecycle.defer("lanes", lanes.close);
  parts.lanes = lanes;
  return lanes;
}

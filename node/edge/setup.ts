/** The inputs of every phase of the start. */
import type { Clock } from "#base/clock.ts";
import type { Lifecycle } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import type { Random } from "#base/random.ts";
import type { EdgeConfig } from "../config.ts";
import type { ProcessPlace } from "../processes/process-share.ts";
import type { Siblings } from "../processes/machine-load.ts";
import type { StartDns } from "./phases/dns-responder.ts";
import type { Parts } from "./parts.ts";

export interface EdgeDeps {
  startDns: StartDns;
  /** Which of this machine's processes this one is. */
  process: ProcessPlace;
  siblings: Siblings;
  clock: Clock;
  random: Random;
  log: Log;
}

export interface EdgeSetup extends EdgeDeps {
  config: EdgeConfig;
  release: string;
  /** A phase defers the closing of each part as soon as it has opened it. */
  lifecycle: Lifecycle;
  parts: Parts;
}

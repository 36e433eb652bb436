/**
 * The lanes that own the connections of clients: how many the configuration and the machine give, and their start.
 *
 * With `auto`, an edge always starts: where lanes can't run, the main thread owns the connections, and the log and the
 * status say why. A configured number is a requirement.
 */
import { availableParallelism } from "node:os";
import { openFilesMax } from "#base/open-files.ts";
import { ConfigError } from "#base/read-config.ts";
import { systemReason } from "#base/system-reason.ts";
import { type Lanes, lanesMissing, openLanes } from "../../front/lane/lanes.ts";
import type { SharedReady } from "../../front/lane/running-lane.ts";
import type { LaneTlsParts } from "../../front/lane/tls-orders.ts";
import type { EdgeSetup } from "../setup.ts";

/** The main thread, DNS and decoders need cores, too; and more lanes than this would wait for the main thread. */
const coresPerLane = 2;
const automaticMost = 4;
/**
 * With fewer open files, lanes would allow less than 700 connections, a third of what the main thread can have: a
 * connection with a response in progress takes three files.
 */
const openFilesMin = 4096;

export interface Machine {
  /** Cores that this process may use. */
  readonly cores: number;
  /** Edge processes that share them. */
  readonly processes: number;
  readonly openFiles: number;
  /** Why lanes can't run; undefined: they can. */
  readonly missing: string | undefined;
}

export interface LaneChoice {
  readonly count: number;
  /** Why there are none although some are wanted. */
  readonly absent?: string;
}

/**
 * The number of lanes of one process; pure.
 * @throws ConfigError if a number of lanes is configured, and there can be none
 */
export function laneChoice(wanted: number | "auto", { cores, processes, openFiles, missing }: Machine): LaneChoice {
  if (wanted === 0) return { count: 0 };
  if (wanted !== "auto") {
    if (missing === undefined) return { count: wanted };
    const message = `is ${wanted}, but lanes can't run here: ${missing}. Set it to 0 or \`auto\``;
    throw new ConfigError("the configuration", [{ path: "front.lanes", message }]);
  }
  if (missing !== undefined) return { count: 0, absent: missing };
  if (openFiles < openFilesMin) {
    const absent = `the limit on open files is ${openFiles}, and lanes need ${openFilesMin} (ulimit -n, LimitNOFILE)`;
    return { count: 0, absent };
  }
  return { count: Math.min(automaticMost, Math.max(1, Math.floor(cores / processes / coresPerLane))) };
}

/** The same for this machine. */
export function chooseLanes({ config, process }: Pick<EdgeSetup, "config" | "process">): LaneChoice {
  const wanted = config.front.lanes;
  const [cores, processes, openFiles] = [availableParallelism(), process.count, openFilesMax()];
  return laneChoice(wanted, { cores, processes, openFiles, missing: wanted === 0 ? undefined : lanesMissing() });
}

/**
 * Undefined: the main thread owns the connections.
 * @param ready responses that the lanes may send themselves
 * @param tls for listeners with TLS; undefined: there are none
 */
export async function openClientLanes(
  setup: EdgeSetup,
  ready: SharedReady | undefined,
  tls: LaneTlsParts | undefined,
): Promise<Lanes | undefined> {
  const { config, lifecycle, parts, clock, log } = setup;
  const { count, absent } = chooseLanes(setup);
  const goWithout = (reason: string): undefined => {
    parts.lanesAbsent = reason;
    log.info({ reason }, "lanes can't run here: the main thread owns the connections of clients");
    return undefined;
  };
  if (absent !== undefined) return goWithout(absent);
  if (count === 0) return undefined;
  try {
    const lanes = await openLanes({ count, ready, tls, clock, log });
    lifecycle.defer("lanes", lanes.close);
    parts.lanes = lanes;
    return lanes;
  } catch (error) {
    if (config.front.lanes !== "auto") throw error;
    const { cause = error } = error as Error;
    return goWithout(`a thread can't be started: ${systemReason(cause)}`);
  }
}

/**
 * The fleet as this node knows it: document and roster, from disk at the start, then from the origin's feed, combined
 * into one Fleet.
 *
 *   document (version) ┐                       ┌─▶ changed(): probes, names, lease
 *                      ├─▶ withRoster ─▶ current
 *   roster (revision)  ┘                       └─▶ standing: this node's state in it
 *
 *   listed     gets clients        draining   an operator drains it
 *   removed    it was a node of the fleet (seen since the start, or on disk), and no longer is
 *   absent     it has not joined, or was removed before it started
 */
import { NearcastError } from "#base/errors.ts";
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { problemLines } from "#base/schema.ts";
import type { Fleet } from "#document/document.ts";
import type { FleetMemory, FleetVersion } from "#follow/fleet-memory.ts";
import { readFleet } from "#document/read-in-thread.ts";
import { withRoster } from "#document/roster.ts";
import type { OriginClient } from "../../fetch/origin.ts";
import { followRoster } from "../../fetch/roster.ts";

export type Standing = "listed" | "draining" | "removed" | "absent";

export interface Membership {
  /** Null before the first document. Every change makes a new object. */
  current: () => FleetVersion | null;
  /** @throws NearcastError NOT_READY before the first document */
  fleet: () => Fleet;
  rosterRevision: () => number;
  standing: () => Standing;
  /** @throws NearcastError ORIGIN_* */
  takeFleet: () => Promise<void>;
  /** @throws NearcastError ORIGIN_* */
  takeRoster: (event: unknown) => Promise<void>;
  /** Call this each time the feed was opened. */
  refresh: () => void;
  close: () => void;
}

export async function openMembership(options: {
  node: string;
  site: string;
  memory: FleetMemory;
  origin: Pick<OriginClient, "fleet" | "roster">;
  /** Another fleet is in force. */
  changed: (fleet: Fleet) => void;
  clock: Clock;
  log: Log;
}): Promise<Membership> {
  const { node, site, memory, origin, changed, clock, log } = options;
  let written: FleetVersion | null = await memory.loadFleet();
  let current: FleetVersion | null = null;
  let standing: Standing = "absent";

  const roster = followRoster({
    known: await memory.loadRoster(),
    ask: origin.roster,
    store: memory.storeRoster,
    changed: () => {
      join();
      if (current !== null) changed(current.document);
    },
    clock,
    log,
  });
  join();

  function join(): void {
    if (written === null) return;
    current = { version: written.version, document: withRoster(written.document, roster.roster()) };
    const own = current.document.sites.flatMap(({ nodes }) => nodes).find(({ name }) => name === node);
    const before = standing;
    if (own !== undefined) standing = own.state === "draining" ? "draining" : "listed";
    else if (before !== "absent") standing = "removed";
    if (standing !== before) log.info({ standing }, "this node's place in the fleet changed");
  }

  /**
   * The start and the feed may both request it; one after the other, so that an older document never replaces a newer
   * one.
   */
  let taking: Promise<void> = Promise.resolve();
  async function takeFleetOnce(): Promise<void> {
    const { version, text } = await origin.fleet();
    if (written?.version === version) return;
    const read = await readFleet(text);
    if (!read.ok) {
      log.error(
        { version, problems: problemLines(read.problems) },
        "the new fleet document is not valid; the previous one stays in force",
      );
      return;
    }
    await memory.storeFleet(version, text);
    written = { version, document: read.value };
    join();
    if (!read.value.sites.some(({ name }) => name === site)) {
      log.warn(
        { site, version },
        "the fleet document does not have this node's site, so no clients are sent to this node",
      );
    }
    log.info({ version }, "new fleet document in force");
    if (current !== null) changed(current.document);
  }

  return {
    current: () => current,
    fleet() {
      if (current === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
      return current.document;
    },
    rosterRevision: () => roster.roster().revision,
    standing: () => standing,
    takeFleet() {
      taking = taking.then(takeFleetOnce, takeFleetOnce);
      return taking;
    },
    takeRoster: roster.take,
    refresh: roster.refresh,
    close: roster.close,
  };
}

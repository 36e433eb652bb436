/**
 * Follows the roster (followed.ts): the nodes that joined by themselves, and those that an operator drains. Code that
 * needs a Fleet makes one from it and the fleet document (node/document/roster.ts).
 *
 * Its events carry a revision. So an edge that was disconnected while a hundred nodes came and went asks once before it
 * serves again, not a hundred times. Revisions of two origins, or of one that was restored from a backup, can't be
 * compared: only those received since the feed was last opened count.
 */
import { Type } from "typebox";
import type { Clock } from "#base/clock.ts";
import type { Log } from "#base/log.ts";
import { check } from "#base/schema.ts";
import { emptyRoster, type Roster } from "#document/roster.ts";
import { follow, type Follower } from "./followed.ts";

const rosterEvent = Type.Object({ revision: Type.Integer({ minimum: 0 }) });

export interface RosterFollower extends Pick<Follower<Roster>, "close"> {
  /**
   * To be called with each event's data. Resolves when a roster at least as new is in use.
   * @throws NearcastError ORIGIN_*
   */
  take: (event: unknown) => Promise<void>;
  /** To be called each time that the feed has been opened: asks until the origin has answered. */
  refresh: () => void;
  /** Empty before the first is known. */
  roster: () => Roster;
}

export function followRoster(options: {
  /** What the disk remembers. */
  known: Roster | null;
  ask: () => Promise<Roster | null>;
  store: (roster: Roster) => Promise<void>;
  changed: (roster: Roster) => void;
  clock: Clock;
  log: Log;
}): RosterFollower {
  const { log } = options;
  let opened = 0;
  let heardRevision = -1;
  const follower = follow({
    ...options,
    what: "roster",
    async ask() {
      const askedAt = opened;
      const roster = await options.ask();
      if (roster !== null && askedAt === opened) heardRevision = roster.revision;
      return roster;
    },
    isSame: (one, other) => JSON.stringify(one) === JSON.stringify(other),
    changed(roster) {
      const { revision, nodes, draining } = roster;
      options.changed(roster);
      log.info({ revision, nodes: nodes.length, draining }, "new roster in force");
    },
  });
  return {
    async take(event) {
      if (revisionOf(event) > heardRevision) await follower.take();
    },
    refresh() {
      opened += 1;
      heardRevision = -1;
      follower.refresh();
    },
    roster: () => follower.value() ?? emptyRoster,
    close: follower.close,
  };
}

/** An unreadable event is a reason to ask. */
function revisionOf(event: unknown): number {
  const checked = check(rosterEvent, event);
  return checked.ok ? checked.value.revision : Number.MAX_SAFE_INTEGER;
}

/**
 * Which members to ask for a key before doing the work here: its owners in the site, the shield, a site with room.
 *
 *   key ─▶ members of the site in the key's order (owners.ts)   fra3   fra1   fra2 (we)   fra4
 *            pass over: shunned after failures, busy             ✗
 *            stop: before ourselves, or after two                      ▲
 *                                                               ask fra1, else do the work here
 *
 * One fetch and one render per site, without any agreement:
 *
 *   - All nodes compute the same order from the same names, and see health and answers of the same probes. So all ask
 *     the same owner; it coalesces concurrent requests, and asks nobody else in the site (a node answers a peer's
 *     request by doing the work).
 *   - An owner that dies is shunned after one failure and down for all nodes some probes later; then all agree on the
 *     next owner again. Until then, nodes that have noticed and nodes that have not may ask two different members, so a
 *     key may be rendered twice in these seconds.
 *   - Bounded load (Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads", SODA 2018, applied to
 *     rendezvous): a node whose waiting renderings exceed 1.25 × its site's mean + 8 is passed over for the key's next
 *     owner. Answers are a second old and do not arrive everywhere at once, so a key may be rendered twice while a node
 *     crosses that bound; without overload no node is above it. The bound also applies to this node: for a key that it
 *     owns but is too busy for, it asks the next owner, as all others do.
 *   - An owner may also refuse by itself, at once and precisely (503 with an answer of its own); the requester then
 *     asks the next owner.
 *
 * Members change with probes, once a second, so they are kept for `keptMs` and computed again when the document or this
 * node's own readiness changes. The shield and sites with room are ranked in the same way: one member there owns the
 * key for all requesters from elsewhere.
 */
import type { Clock } from "#base/clock.ts";
import type { Fleet } from "#document/document.ts";
import type { NodeHealth, SiteStates } from "#health/health.ts";
import {
  isSiteOpen,
  type Member,
  memberName,
  membersOf,
  type MemberAnswer,
  type Self,
  waitingMost,
} from "./members.ts";
import { createRanking, type Ranking } from "./owners.ts";

export type { Member } from "./members.ts";

export interface PeerDirectory {
  /**
   * Members of this site to ask before doing the work here, best first, at most two. Empty: the key is ours, or we are
   * alone.
   */
  ownersBefore: (key: string) => readonly Member[];
  /** Members of the shield site, at most two. Empty: none is configured, none is up, or it is our own site. */
  shieldFor: (key: string) => readonly Member[];
  /** Members of sites with room, nearest first, at most two. Empty unless this site is full and another has room. */
  roomElsewhere: (key: string) => readonly Member[];
  /** All other members of this site. */
  site: () => readonly Member[];
  /** Whether it still takes part in its site, busy or not: if not, there is no need to wait for its answer. */
  isMember: (member: Member) => boolean;
}

export interface Room {
  /** Whether this site has more work than it can do. */
  readonly isFull: boolean;
  /** Names of sites that can take some of that work, nearest first. */
  readonly sitesWithRoom: readonly string[];
}

const askedMost = 2;
/** A tenth of the time between two probes: there is no newer information. */
const keptMs = 100;

interface Known {
  readonly members: readonly Member[];
  readonly ranking: Ranking<Member>;
  /** Nodes with too many waiting renderings. */
  readonly busy: ReadonlySet<string>;
}

const nobody: readonly Member[] = [];

/**
 * @param fleet null before the first document
 * @param self this process's place; `isReady` false removes it from its own order at once
 * @param isShunned the client's judgement of a member after failures (client.ts)
 */
export function openDirectory(options: {
  fleet: () => Fleet | null;
  health: () => ReadonlyMap<string, NodeHealth>;
  answers: () => ReadonlyMap<string, MemberAnswer>;
  siteStates: () => SiteStates;
  self: () => Self;
  site: string;
  room: () => Room;
  isShunned: (member: Member) => boolean;
  clock: Clock;
}): PeerDirectory {
  const { fleet, health, answers, siteStates, site: ownSite, room, isShunned, clock } = options;
  const knownBySite = new Map<string, Known>();
  let keptFleet: Fleet | null = null;
  let keptReady = false;
  let keptUntilMs = -Infinity;
  let ownName = "";
  let others: readonly Member[] | undefined;

  /** Drops cached members that may have changed. */
  function look(): Fleet | null {
    const fleetNow = fleet();
    const self = options.self();
    const nowMs = clock.monotonicMs();
    if (fleetNow !== keptFleet || self.isReady !== keptReady || nowMs >= keptUntilMs) {
      knownBySite.clear();
      others = undefined;
      ownName = memberName(self.node, self.process);
      keptFleet = fleetNow;
      keptReady = self.isReady;
      keptUntilMs = nowMs + keptMs;
    }
    return fleetNow;
  }

  /** Undefined: there is no such site. */
  function knownOf(site: string, from: Fleet): Known | undefined {
    const kept = knownBySite.get(site);
    if (kept !== undefined) return kept;
    const found = from.sites.find(({ name }) => name === site);
    if (found === undefined) return undefined;
    const isAskable = site === ownSite || isSiteOpen(found, siteStates());
    const input = { fleet: from, health: health(), answers: answers(), self: options.self() };
    const members = isAskable ? membersOf(found, input) : [];
    const most = waitingMost(found, input);
    const busy = new Set(
      found.nodes.flatMap(({ name }) => ((input.answers.get(name)?.rendersWaiting ?? 0) > most ? [name] : [])),
    );
    const known = { members, ranking: createRanking(members), busy };
    knownBySite.set(site, known);
    return known;
  }

  /** The best members that can be asked, at most `most`; only those before ourselves if we are in the order. */
  function bestOf({ members, ranking, busy }: Known, key: string, most: number): readonly Member[] {
    if (members.length === 0) return nobody;
    const best: Member[] = [];
    const next = ranking.bestFirst(key);
    for (let member = next(); member !== undefined && best.length < most; member = next()) {
      const isBusy = busy.has(member.node);
      if (member.name === ownName) {
        if (isBusy) continue;
        break;
      }
      if (!isBusy && !isShunned(member)) best.push(member);
    }
    return best;
  }

  return {
    ownersBefore(key) {
      const from = look();
      const known = from === null ? undefined : knownOf(ownSite, from);
      return known === undefined ? nobody : bestOf(known, key, askedMost);
    },
    shieldFor(key) {
      const from = look();
      if (from?.shield === undefined || from.shield === ownSite) return nobody;
      const known = knownOf(from.shield, from);
      return known === undefined ? nobody : bestOf(known, key, askedMost);
    },
    roomElsewhere(key) {
      const from = look();
      if (from === null) return nobody;
      const { isFull, sitesWithRoom } = room();
      if (!isFull) return nobody;
      const able = sitesWithRoom.flatMap((name) => (name === ownSite ? [] : (knownOf(name, from) ?? [])));
      // The best member of each of two sites, so that an unreachable site costs one attempt; or the best two of one.
      const firsts: Member[] = [];
      for (const known of able) {
        firsts.push(...bestOf(known, key, 1));
        if (firsts.length === askedMost) return firsts;
      }
      const [only] = able;
      return able.length === 1 && only !== undefined ? bestOf(only, key, askedMost) : firsts;
    },
    site() {
      const from = look();
      others ??= (from === null ? undefined : knownOf(ownSite, from))?.members.filter(({ name }) => name !== ownName);
      return others ?? nobody;
    },
    isMember(member) {
      const from = look();
      const known = from === null ? undefined : knownOf(member.site, from);
      return known?.members.some(({ name }) => name === member.name) ?? false;
    },
  };
}

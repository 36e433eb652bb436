/** Drills in which an edge fails or is told to go: killed, blocked, frozen, stopped in order. */
import { until } from "./cdn.ts";
import { ttlSeconds } from "./documents.ts";
import { type Drill, type Lab, type Measured, measured } from "./drill.ts";
import { machineMs } from "./machine-clock.ts";
import { lostOf, troubleSince } from "./measure.ts";
import { inRounds } from "./rounds.ts";
import { type CloudPlan, cloudsOf, nodeOf, type NodePlan, nodes, type SiteName, siteOf } from "./plan.ts";
import type { Watch } from "./vantage-points.ts";
import {
  allAnnounced,
  allNamed,
  anycastRow,
  clientNear,
  coveredElsewhere,
  names,
  outOfAnswersMs,
  pause,
  plainRows,
  steadyNode,
  watchNode,
  watchPlainly,
} from "./watching.ts";

/** Until what a drill looks for has been seen for a while. */
const afterMs = 800;
/** Until the slowest of health, TTL and a last attempt is over. */
const afterDeathMs = outOfAnswersMs + 1000 * ttlSeconds + 1000;
const startMs = 60_000;
/** A node stands in DNS so long after it is ready. */
const joinedMs = 5000;

/** The two families of a site's cloud, each watched by the nearest client. */
interface Watched {
  readonly label: string;
  readonly watch: Watch;
}

function watchBoth(lab: Lab, site: SiteName, intervalMs?: number): [Watched, Watched] {
  const cloud = firstCloud(site);
  const client = clientNear(site);
  return [
    { label: "IPv4", watch: watchNode(lab, client, cloud.address4, intervalMs) },
    { label: "IPv6", watch: watchNode(lab, client, cloud.address6, intervalMs) },
  ];
}

function firstCloud(site: SiteName): CloudPlan {
  const [cloud] = cloudsOf(site);
  if (cloud === undefined) throw new Error(`${site} announces nothing`);
  return cloud;
}

/** A node outside of the site, or beside the victim in it: its answers are looked at. */
function witness(site: SiteName, victims: readonly string[]): NodePlan {
  const siblings = siteOf(site).nodes.filter(({ name }) => !victims.includes(name));
  const found = siblings[0] ?? nodes.find((node) => node.site !== site);
  if (found === undefined) throw new Error("there is nobody else");
  return found;
}

/**
 * One of two nodes dies: its sibling answers for both. How soon depends on how long the kernel takes to free the dead
 * process's memory before it closes its sockets, so this happens in each of the sites, one after the other.
 */
export function edgeKilled(sites: readonly SiteName[]): Drill {
  return inRounds("edge-killed", sites.map(edgeKilledAt));
}

function edgeKilledAt(site: SiteName): Drill {
  return {
    name: "edge-killed",
    async run(lab) {
      await Promise.all([allAnnounced(lab, [site]), allNamed(lab)]);
      const [v4, v6] = watchBoth(lab, site);
      const victim = await steadyNode(v4.watch, site);
      const plain = watchPlainly(lab, clientNear(site), witness(site, [victim]).address4);
      await pause(afterMs);
      const faultMs = machineMs();
      lab.cdn.edge(victim).signal("SIGKILL");
      await pause(outOfAnswersMs + 500);
      const [samples4, samples6, seen] = await Promise.all([v4.watch.end(), v6.watch.end(), plain.end()]);
      lab.cdn.startEdge(victim);
      const is = (what: string): boolean => what === victim;
      return [
        anycastRow("edge killed (kill -9), IPv4", samples4, faultMs, is, { recoveryMs: 100, lost: 2 }),
        anycastRow("edge killed (kill -9), IPv6", samples6, faultMs, is, { recoveryMs: 100, lost: 2 }),
        ...plainRows("edge killed", seen, faultMs, [nodeOf(victim).address4], 0),
      ];
    },
  };
}

/** A node whose machine comes back, or is new: from its own word that it is ready until DNS sends clients there. */
export function nodeReturns(site: SiteName): Drill {
  return {
    name: "node-returns",
    async run(lab) {
      await allNamed(lab);
      const victim = siteOf(site).nodes[0]?.name ?? "";
      const { address4 } = nodeOf(victim);
      const edge = lab.cdn.edge(victim);
      edge.signal("SIGKILL");
      await edge.gone;
      const plain = watchPlainly(lab, clientNear(site), witness(site, [victim]).address4);
      await pause(outOfAnswersMs + 1000);
      lab.cdn.startEdge(victim);
      await until(`${victim} is ready`, () => lab.cdn.isReady(victim), startMs);
      const readyMs = machineMs();
      await pause(joinedMs + afterMs);
      const { answers, lookUps, fetches } = await plain.end();
      const isBack = names([address4]);
      const first = answers.find(({ sentMs, tookMs, what }) => sentMs >= readyMs && tookMs !== null && isBack(what));
      const lost = [...lookUps, ...fetches].filter(({ sentMs }) => sentMs >= readyMs);
      return [
        measured({
          title: "a node is ready: in DNS answers",
          group: "DNS only",
          recoveryMs: first === undefined ? null : first.sentMs - readyMs,
          recoveryMsMax: joinedMs,
          lost: lostOf(lost),
          lostMax: 0,
          asked: lost.length,
          isOver: first !== undefined,
          note: "look-ups and pictures since then",
        }),
      ];
    },
  };
}

/** Both nodes die: the next site of the cloud answers. */
export function siteKilled(site: SiteName): Drill {
  return {
    name: "site-killed",
    async run(lab) {
      if (!lab.isShort) await allAnnounced(lab, [site]);
      await Promise.all([allNamed(lab), coveredElsewhere(lab, site)]);
      const [v4, v6] = watchBoth(lab, site);
      const own = siteOf(site).nodes;
      const plain = watchPlainly(
        lab,
        clientNear(site),
        witness(
          site,
          own.map(({ name }) => name),
        ).address4,
      );
      await Promise.all([steadyNode(v4.watch, site), steadyNode(v6.watch, site)]);
      const faultMs = machineMs();
      for (const { name } of own) lab.cdn.edge(name).signal("SIGKILL");
      await pause(afterDeathMs);
      const [samples4, samples6, seen] = await Promise.all([v4.watch.end(), v6.watch.end(), plain.end()]);
      for (const { name } of own) lab.cdn.startEdge(name);
      const is = (what: string): boolean => own.some(({ name }) => name === what);
      const addresses = own.map(({ address4 }) => address4);
      return [
        anycastRow("site killed, IPv4", samples4, faultMs, is, { recoveryMs: 100, lost: null }),
        anycastRow("site killed, IPv6", samples6, faultMs, is, { recoveryMs: 100, lost: null }),
        ...plainRows("site killed", seen, faultMs, addresses, null),
      ];
    },
  };
}

/** The main thread hangs while the threads that answer DNS go on: the node is no longer one to send clients to. */
export function loopBlocked(site: SiteName): Drill {
  return {
    name: "loop-blocked",
    async run(lab) {
      await allAnnounced(lab, [site]);
      const [{ watch }, other] = watchBoth(lab, site);
      const victim = await steadyNode(watch, site);
      const faultMs = machineMs();
      lab.cdn.edge(victim).signal("SIGUSR2");
      await pause(2 * afterMs);
      const [samples] = await Promise.all([watch.end(), other.watch.end()]);
      return [
        anycastRow("event loop blocked for 2.5 s", samples, faultMs, (what) => what === victim, {
          recoveryMs: 500,
          lost: null,
        }),
      ];
    },
  };
}

/** The whole process stands still: the hold time of its session with BIRD ends the announcement. */
export function edgeFrozen(site: SiteName): Drill {
  return {
    name: "edge-frozen",
    async run(lab) {
      await allAnnounced(lab, [site]);
      const [{ watch }, other] = watchBoth(lab, site);
      const victim = await steadyNode(watch, site);
      const faultMs = machineMs();
      lab.cdn.edge(victim).signal("SIGSTOP");
      await watch
        .until((what) => what !== victim && nodes.some(({ name }) => name === what), 10_000)
        .catch(() => undefined);
      await pause(afterMs);
      const [samples] = await Promise.all([watch.end(), other.watch.end()]);
      lab.cdn.edge(victim).signal("SIGCONT");
      return [
        anycastRow("edge frozen (SIGSTOP)", samples, faultMs, (what) => what === victim, {
          recoveryMs: 4500,
          lost: null,
        }),
      ];
    },
  };
}

/** 500 queries a second in each family: 1,000. */
const drainQueryMs = 2;

/** SIGTERM, as at an upgrade: first one node, then (in the long form) its sibling too, so that the site is left. */
export function plannedDrain(site: SiteName): Drill {
  return {
    name: "planned-drain",
    async run(lab) {
      await Promise.all([allAnnounced(lab, [site]), allNamed(lab), coveredElsewhere(lab, site)]);
      const [v4, v6] = watchBoth(lab, site, drainQueryMs);
      const first = await steadyNode(v4.watch, site);
      const victims = siteOf(site)
        .nodes.map(({ name }) => name)
        .toSorted((a, b) => Number(b === first) - Number(a === first))
        .slice(0, lab.isShort ? 1 : 2);
      const plain = watchPlainly(lab, clientNear(site), witness(site, victims).address4);
      await pause(afterMs);
      const startedMs = machineMs();
      for (const victim of victims) {
        const edge = lab.cdn.edge(victim);
        edge.signal("SIGTERM");
        await until(`${victim} has stopped in order`, () => Promise.resolve(!edge.isRunning()), startMs);
        await pause(afterMs);
      }
      // The rest of the thirty thousand.
      if (!lab.isShort) await pause(Math.max(0, 30_000 - (machineMs() - startedMs)));
      const [samples4, samples6, seen] = await Promise.all([v4.watch.end(), v6.watch.end(), plain.end()]);
      for (const victim of victims) lab.cdn.startEdge(victim);
      const what = victims.length === 1 ? "a node stopped in order" : "a site's nodes stopped in order";
      const all = [...samples4, ...samples6];
      const addresses = victims.map((name) => nodeOf(name).address4);
      const [, lookUps, pictures] = plainRows(what, seen, startedMs, addresses, 0);
      return [
        measured({
          title: `${what}, 1,000/s`,
          group: "BGP",
          n: victims.length,
          lost: lostOf(all),
          lostMax: 0,
          asked: all.length,
          isOver: troubleSince(samples4, startedMs, drainQueryMs).isOver,
          note: "IPv4 and IPv6",
        }),
        ...[lookUps, pictures].filter((row): row is Measured => row !== undefined),
      ];
    },
  };
}

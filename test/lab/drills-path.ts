/** Drills in which nodes are well and the way to them is not. */
import { sleep } from "#base/clock.ts";
import { anycastZone } from "./documents.ts";
import { type Drill, type Lab, measured } from "./drill.ts";
import { machineClock, machineMs } from "./machine-clock.ts";
import { lostOf } from "./measure.ts";
import { swallowClouds } from "./network.ts";
import { cloudsOf, firstResolver, nodeOf, nodes, secondResolver, type SiteName, siteOf } from "./plan.ts";
import {
  allAnnounced,
  allNamed,
  anycastRow,
  clientNear,
  pause,
  plainRows,
  slowest,
  steadyNode,
  watchLookUps,
  watchNode,
  watchPlainly,
} from "./watching.ts";
import { missingPrograms } from "./space.ts";

const afterMs = 800;
const pathTimeoutMs = 10_000;

/** The cable between a node and its router is pulled. */
export function linkDown(site: SiteName): Drill {
  return {
    name: "link-down",
    run: async (lab) => [
      await pathFault(lab, site, "link of a node down", 100, {
        break: (node, router) => lab.network.unplug(node, router),
        mend: (node, router) => lab.network.plug(node, router),
      }),
    ],
  };
}

/** The cable carries nothing any more, and both ends see a carrier. */
export function blackhole(site: SiteName): Drill {
  const { intervalMs, multiplier } = siteOf(site).bfd;
  return {
    name: `blackhole-${intervalMs}x${multiplier}`,
    run: async (lab) => [
      await pathFault(
        lab,
        site,
        `link of a node silent, BFD ${intervalMs} ms × ${multiplier}`,
        intervalMs === 100 ? 400 : 1000,
        {
          break: (node, router) => lab.network.silence(node, router),
          mend: (node, router) => lab.network.unsilence(node, router),
        },
      ),
    ],
  };
}

async function pathFault(
  lab: Lab,
  site: SiteName,
  title: string,
  recoveryMs: number,
  fault: Record<"break" | "mend", (node: string, router: string) => Promise<void>>,
) {
  // The short form has no time to wait for a sibling that another drill hurt: then the next site is who takes over.
  if (!lab.isShort) await allAnnounced(lab, [site]);
  const [cloud] = cloudsOf(site);
  const watch = watchNode(lab, clientNear(site), cloud?.address4 ?? "");
  const victim = await steadyNode(watch, site);
  const faultMs = machineMs();
  await fault.break(victim, siteOf(site).router);
  try {
    const isOther = (what: string): boolean => what !== victim && nodes.some(({ name }) => name === what);
    await watch.until(isOther, pathTimeoutMs).catch(() => undefined);
    await pause(afterMs);
  } finally {
    await fault.mend(victim, siteOf(site).router);
  }
  return anycastRow(title, await watch.end(), faultMs, (what) => what === victim, { recoveryMs, lost: null });
}

/** Longer than health, TTL and a last attempt take. */
const partitionMs = 9000;

/** A whole site is cut off, silently: no BGP session knows for 9 s, and its addresses swallow everything. */
export function sitePartitioned(site: SiteName): Drill {
  return {
    name: "site-partitioned",
    async run(lab) {
      await Promise.all([allAnnounced(lab, [site]), allNamed(lab)]);
      const far = nodes.findLast((node) => node.site !== site);
      const plain = watchPlainly(lab, clientNear(site), far?.address4 ?? "");
      await pause(1000);
      const { router, transit, nodes: own } = siteOf(site);
      const faultMs = machineMs();
      await lab.network.silence(router, transit);
      await sleep(machineClock, partitionMs);
      const seen = await plain.end();
      await lab.network.unsilence(router, transit);
      const addresses = own.map(({ name }) => nodeOf(name).address4);
      return plainRows("site cut off", seen, faultMs, addresses, null);
    },
  };
}

/** As long as a network that has neither BFD nor short hold times may need to find out. */
const silentMs = 25_000;
const silentShortMs = 5000;
/** BIND is optional: it is asked where it is installed. */
const namedStartMs = 1500;

/**
 * Packets to the clouds vanish in the nearest site while it goes on announcing them: resolvers have the other cloud.
 */
export function twoClouds(site: SiteName): Drill {
  return {
    name: "two-clouds",
    async run(lab) {
      await allAnnounced(lab, ["fra", "nyc", "tyo"]);
      const client = clientNear(site);
      const resolvers = [{ name: "unbound", address: firstResolver }];
      if (missingPrograms(["named"]).length === 0) {
        lab.cdn.startNamed(client);
        resolvers.push({ name: "BIND", address: secondResolver });
        await pause(namedStartMs);
      }
      const watches = resolvers.map(({ address }) => watchLookUps(lab, client, anycastZone, address));
      await pause(2000);
      await swallowClouds(site, "add");
      await sleep(machineClock, lab.isShort ? silentShortMs : silentMs);
      const seen = await Promise.all(watches.map((watch) => watch.end()));
      await swallowClouds(site, "del");
      return resolvers.map(({ name }, index) => {
        const samples = seen[index] ?? [];
        return measured({
          title: `nearest site silent for ${(lab.isShort ? silentShortMs : silentMs) / 1000} s, two clouds, ${name}`,
          group: "BGP",
          lost: lostOf(samples),
          lostMax: 0,
          asked: samples.length,
          isOver: samples.length > 0,
          note: slowest(samples),
        });
      });
    },
  };
}

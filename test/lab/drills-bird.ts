/** Drills in which BIRD is what is restarted, configured and killed. */
import { until } from "./cdn.ts";
import { type Drill, type Lab, measured } from "./drill.ts";
import { machineMs } from "./machine-clock.ts";
import { cloudsOf, type SiteName, siteOf } from "./plan.ts";
import { type Program, run } from "./processes.ts";
import { allAnnounced, pause } from "./watching.ts";

const backMs = 20_000;
/** From RFC 2544's range for tests; nobody goes there. */
const testDestination = "198.18.0.1/32";

/** Everything that a router's kernel is told of its routes from now on: `at`, and a line of `ip monitor`. */
interface RouteMonitor {
  readonly lines: readonly { readonly atMs: number; readonly text: string }[];
  readonly close: () => Promise<void>;
}

function monitorRoutes(lab: Lab, router: string): RouteMonitor {
  const lines: { atMs: number; text: string }[] = [];
  const monitor: Program = lab.crew.start({
    name: `monitor-${router}`,
    namespace: null,
    command: ["ip", "-n", router, "monitor", "route"],
    output: "pipe",
  });
  let rest = "";
  monitor.child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop() ?? "";
    for (const text of parts) lines.push({ atMs: machineMs(), text });
  });
  return { lines, close: monitor.kill };
}

/** Resolves once it has told of a route through one of these nodes that was made for this: it would tell of others. */
async function seesRoutes(monitor: RouteMonitor, router: string, nodes: readonly string[]): Promise<void> {
  const route = [testDestination, "dev", nodes[0] ?? ""];
  await until(
    `the monitor of ${router} sees a route`,
    async () => {
      await run("ip", ["-n", router, "route", "add", ...route]);
      await run("ip", ["-n", router, "route", "del", ...route]);
      return arrivals(monitor, nodes, 0).length > 0;
    },
    backMs,
  );
}

/** Lines that say that something is now reached through one of these nodes. */
function arrivals(monitor: RouteMonitor, nodes: readonly string[], sinceMs: number) {
  return monitor.lines.filter(
    ({ atMs, text }) =>
      atMs >= sinceMs &&
      !text.startsWith("Deleted") &&
      nodes.some((node) => new RegExp(`\\bdev ${node}\\b`).test(text)),
  );
}

/** BIRD dies and its service manager starts it again, while the edge goes on. */
export function birdRestarted(site: SiteName): Drill {
  return {
    name: "bird-restarted",
    async run(lab) {
      if (!lab.isShort) await allAnnounced(lab, [site]);
      const [cloud] = cloudsOf(site);
      const [name = siteOf(site).nodes[0]?.name ?? ""] = await lab.cdn.announcers(site, cloud?.name ?? "", 4);
      const bird = lab.cdn.bird(name);
      bird.signal("SIGKILL");
      await bird.gone;
      const isThere = async (): Promise<boolean> =>
        (await lab.cdn.announcers(site, cloud?.name ?? "", 4)).includes(name) &&
        (await lab.cdn.announcers(site, cloud?.name ?? "", 6)).includes(name);
      await until(`${name} is withdrawn`, async () => !(await isThere()), backMs);
      const startedMs = machineMs();
      lab.cdn.startBird(name);
      await until(`${name} is announced again`, isThere, backMs);
      const recoveryMs = machineMs() - startedMs;
      return [
        measured({
          title: "BIRD killed and started: announced again",
          group: "BGP",
          recoveryMs,
          recoveryMsMax: 2000,
          note: "IPv4 and IPv6, from BIRD's start",
        }),
      ];
    },
  };
}

const stepMs = 40;

/** Edges of a site are dead. Nothing that an operator does to BIRD may bring their announcement back. */
export function noResurrection(site: SiteName): Drill {
  return {
    name: "no-resurrection",
    async run(lab) {
      const { router, nodes } = siteOf(site);
      const own = nodes.map(({ name }) => name);
      const [cloud] = cloudsOf(site);
      const monitor = monitorRoutes(lab, router);
      await seesRoutes(monitor, router, own);
      await Promise.all(
        own.map(async (name) => {
          const edge = lab.cdn.edge(name);
          edge.signal("SIGKILL");
          await edge.gone;
        }),
      );
      const areGone = async (): Promise<boolean> =>
        (await lab.cdn.announcers(site, cloud?.name ?? "", 4)).length === 0 &&
        (await lab.cdn.announcers(site, cloud?.name ?? "", 6)).length === 0;
      await until(`the dead nodes of ${site} are withdrawn`, areGone, backMs);
      const sinceMs = machineMs();
      const counts = { configured: 0, restarted: 0, killed: 0 };
      const steps = lab.isShort ? 20 : 100;
      for (let step = 0; step < steps; step++) {
        const node = own[Math.floor(lab.random() * own.length)] ?? "";
        await disturb(lab, node, counts);
        await pause(stepMs * lab.random());
      }
      // What came last may still be on its way.
      await pause(1500);
      const announced = arrivals(monitor, own, sinceMs).length + ((await areGone()) ? 0 : 1);
      await monitor.close();
      for (const name of own) lab.cdn.startEdge(name);
      return [
        measured({
          title: `${steps} reloads, restarts and kills of BIRD with dead edges: announced`,
          group: "BGP",
          n: steps,
          lost: announced,
          lostMax: 0,
          note: `${counts.configured} × birdc configure, ${counts.restarted} × restart, ${counts.killed} × kill -9`,
        }),
      ];
    },
  };
}

async function disturb(
  lab: Lab,
  node: string,
  counts: { configured: number; restarted: number; killed: number },
): Promise<void> {
  const chance = lab.random();
  if (chance < 0.6) {
    counts.configured++;
    await lab.cdn.birdCommand(node, "configure").catch(() => undefined); // it may be starting
    return;
  }
  const bird = lab.cdn.bird(node);
  if (chance < 0.8) counts.restarted++;
  else counts.killed++;
  bird.signal(chance < 0.8 ? "SIGTERM" : "SIGKILL");
  await bird.gone;
  lab.cdn.startBird(node);
}

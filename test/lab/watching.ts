/** The watches that several drills keep, and the rows that come out of them. */
import { sleep } from "#base/clock.ts";
import { until } from "./cdn.ts";
import { anycastZone, picturePath, ttlSeconds, unicastHost, unicastZone } from "./documents.ts";
import { type Lab, type Measured, measured } from "./drill.ts";
import { machineClock } from "./machine-clock.ts";
import { lostOf, reasonsOf, tookOf, troubleSince } from "./measure.ts";
import type { Sample } from "./observer.ts";
import type { Watch } from "./vantage-points.ts";
import { type ClientName, clients, cloudsOf, firstResolver, nodes, type SiteName, siteOf } from "./plan.ts";

/** 100 queries a second: the rate of the targets. */
export const queryMs = 10;
/** No path of the lab takes a quarter of it. */
const queryTimeoutMs = 1000;
/**
 * A look-up failed when three queries, two seconds apart, brought nothing. One is not enough: unbound answers no query
 * that is older than 1.9 s (`discard-timeout`), since whoever asked has asked again by then, and finds the answer
 * cached.
 */
const lookUpTimeoutMs = 6000;
const lookUpAgainMs = 2000;
const lookUpMs = 50;
const fetchMs = 100;
/** How long one address is tried before the next. */
const attemptMs = 1000;
const answersMs = 20;
/** What is asked before the fault: enough to know who answers, and that nothing is lost without it. */
const quietMs = 400;

/** Nodes that were hurt take their time: start, self-checks over 10 s, back-off after a fall. */
const backMs = 90_000;

/** A sleep on the machine's clock. */
export async function pause(delayMs: number): Promise<void> {
  await sleep(machineClock, delayMs);
}

/** Resolves when every node of the sites announces its cloud in both families. */
export async function allAnnounced(lab: Lab, siteNames: readonly SiteName[]): Promise<void> {
  await Promise.all(siteNames.map((name) => announced(lab, name, siteOf(name).nodes.length)));
}

/** Resolves when each of the site's clouds is announced in another site too: somebody can take over. */
export async function coveredElsewhere(lab: Lab, siteName: SiteName): Promise<void> {
  const others = cloudsOf(siteName).flatMap((cloud) => cloud.sites.filter((name) => name !== siteName));
  await Promise.all(others.map((name) => announced(lab, name, 1)));
}

async function announced(lab: Lab, siteName: SiteName, least: number): Promise<void> {
  for (const cloud of cloudsOf(siteName)) {
    for (const family of [4, 6] as const) {
      const isSo = async (): Promise<boolean> =>
        (await lab.cdn.announcers(siteName, cloud.name, family)).length >= least;
      await until(`${least} of ${siteName} announce cloud ${cloud.name} (IPv${family})`, isSo, backMs);
    }
  }
}

/** Resolves when every edge names every node in its answers again. */
export async function allNamed(lab: Lab): Promise<void> {
  await until(
    "every node is up in the eyes of every other",
    async () => {
      const statuses = await Promise.all(nodes.map(({ name }) => lab.cdn.status(name)));
      return statuses.every((status) => {
        const seen = (status["sites"] as { nodes: { name: string; state: string }[] }[]).flatMap((site) => site.nodes);
        return nodes.every(({ name }) => seen.some((node) => node.name === name && node.state === "up"));
      });
    },
    backMs,
  );
}

/** Who answers at an address, 100 times a second or as often as told. */
export function watchNode(lab: Lab, client: ClientName, server: string, intervalMs = queryMs): Watch {
  return lab.places.watch(client, {
    kind: "dns",
    server,
    name: `who.look.${anycastZone}`,
    type: "A",
    tell: "node",
    askAgainMs: null,
    intervalMs,
    timeoutMs: queryTimeoutMs,
  });
}

/** The node that answers, once that is steady. */
export async function steadyNode(watch: Watch, siteName: SiteName): Promise<string> {
  const isOfSite = (what: string): boolean => siteOf(siteName).nodes.some(({ name }) => name === what);
  await watch.until(isOfSite, backMs);
  await pause(quietMs);
  return (await watch.until(isOfSite, backMs)).what;
}

/** What a fleet without BGP does for its clients: four watches at once, kept by a client. */
export interface PlainWatches {
  readonly end: () => Promise<{
    readonly answers: readonly Sample[];
    readonly lookUps: readonly Sample[];
    readonly fetches: readonly Sample[];
  }>;
}

/**
 * Names through the nodes' own addresses: what a far nameserver answers for the client, look-ups of new names through
 * unbound, and pictures fetched by an address that unbound gave.
 * @param asked the node whose answers are looked at
 */
export function watchPlainly(lab: Lab, client: ClientName, asked: string): PlainWatches {
  const answers = lab.places.watch(client, {
    kind: "dns",
    server: asked,
    name: unicastHost,
    type: "A",
    tell: "addresses",
    askAgainMs: null,
    intervalMs: answersMs,
    timeoutMs: queryTimeoutMs,
  });
  const lookUps = watchLookUps(lab, client, unicastZone);
  const fetches = lab.places.watch(client, {
    kind: "http",
    host: unicastHost,
    path: picturePath,
    intervalMs: fetchMs,
    attemptMs,
    askAgainMs: lookUpAgainMs,
    timeoutMs: lookUpTimeoutMs,
  });
  return {
    async end() {
      const [answered, lookedUp, fetched] = await Promise.all([answers.end(), lookUps.end(), fetches.end()]);
      return { answers: answered, lookUps: lookedUp, fetches: fetched };
    },
  };
}

/** Names that no cache has, through the client's own resolver. */
export function watchLookUps(lab: Lab, client: ClientName, zone: string, server = firstResolver): Watch {
  return lab.places.watch(client, {
    kind: "dns",
    server,
    name: `*.look.${zone}`,
    type: "A",
    tell: "addresses",
    askAgainMs: lookUpAgainMs,
    intervalMs: lookUpMs,
    timeoutMs: lookUpTimeoutMs,
  });
}

/** An answer that names one of these addresses. */
export function names(addresses: readonly string[]): (what: string) => boolean {
  return (what) => what.split(",").some((address) => addresses.includes(address));
}

/** The row of somebody who asks at an anycast address: until the last query that was lost or went to `isOld`. */
export function anycastRow(
  title: string,
  samples: readonly Sample[],
  faultMs: number,
  isOld: (what: string) => boolean,
  most: { readonly recoveryMs: number | null; readonly lost: number | null },
  intervalMs = queryMs,
): Measured {
  const trouble = troubleSince(samples, faultMs, intervalMs, isOld);
  return measured({
    title,
    group: "BGP",
    recoveryMs: trouble.recoveryMs,
    recoveryMsMax: most.recoveryMs,
    lost: trouble.lost,
    lostMax: most.lost,
    asked: trouble.asked,
    isOver: trouble.isOver,
    note: `then ${samples.findLast(({ tookMs }) => tookMs !== null)?.what ?? "nobody"}`,
  });
}

/** A dead site is named no longer than this. */
export const outOfAnswersMs = 3000;

/** The rows of `watchPlainly`, for addresses that have become bad. */
export function plainRows(
  what: string,
  seen: Awaited<ReturnType<PlainWatches["end"]>>,
  faultMs: number,
  addresses: readonly string[],
  /** Of the fetches: null, where a whole site is gone and resolvers keep its addresses for their TTL. */
  fetchesLostMax: number | null,
): Measured[] {
  const group = "DNS only";
  const answered = troubleSince(seen.answers, faultMs, answersMs, names(addresses));
  const fetched = troubleSince(seen.fetches, faultMs, fetchMs);
  return [
    measured({
      title: `${what}: out of answers`,
      group,
      recoveryMs: answered.recoveryMs,
      recoveryMsMax: outOfAnswersMs,
      lost: answered.lost,
      lostMax: 0,
      asked: answered.asked,
      isOver: answered.isOver,
      note: `resolvers keep it up to ${ttlSeconds} s longer (TTL)`,
    }),
    measured({
      title: `${what}: lookups through unbound`,
      group,
      lost: lostOf(seen.lookUps),
      lostMax: 0,
      asked: seen.lookUps.length,
      note: slowest(seen.lookUps),
    }),
    measured({
      title: `${what}: pictures, tried on every address that DNS gave`,
      group,
      recoveryMs: fetched.recoveryMs,
      recoveryMsMax: fetchesLostMax === 0 ? null : outOfAnswersMs + 1000 * ttlSeconds + attemptMs,
      lost: fetched.lost,
      lostMax: fetchesLostMax,
      asked: fetched.asked,
      isOver: fetched.isOver,
      note: reasonsOf(seen.fetches),
    }),
  ];
}

/** What look-ups that were answered took, and why others were not. */
export function slowest(samples: readonly Sample[]): string {
  const { medianMs, mostMs } = tookOf(samples);
  const reasons = reasonsOf(samples);
  const told = reasons === "" ? "" : `; ${reasons}`;
  return `${Math.round(medianMs)} ms in the median, ${Math.round(mostMs)} at most${told}`;
}

/** The client that is nearest to a site. */
export function clientNear(site: SiteName): ClientName {
  const found = clients.find(({ nearest }) => nearest === site);
  if (found === undefined) throw new Error(`nobody is near ${site}`);
  return found.name;
}

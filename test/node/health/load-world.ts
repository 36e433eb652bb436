/**
 * A small world for shedding, second by second, from one seed: client networks that hold answers for a TTL, edges that
 * give them and each run load-shedding.ts by themselves, sites whose load is what the clients make of it.
 *
 *   edges ──answer by their kept shares──▶ clients ──hold it for a TTL──▶ load of sites
 *     ▲                                                                        │
 *     └── each by its own clock, a little late, a little wrong ◀── mean of 10 s ┘
 */
import { seededRandom } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import type { SiteState } from "#health/health.ts";
import { loadIntervalMs, nextShedding, type Shedding } from "#health/load-shedding.ts";
import { fleetWith, siteValue } from "../../support/fleet.ts";

/** Requests per second by site; undefined: none is stated. */
type Capacities = readonly (number | undefined)[];

interface WorldOptions {
  seed: number;
  ttlSeconds: number;
  sites: number;
  edges: number;
  clients: number;
  /** Whether sites tell their share: site s is decided by edge s, counted round. */
  isTold: boolean;
}

interface Client {
  /** Sites by distance. */
  near: readonly number[];
  /** For each site a number in 0 … 1: the client is kept by sites whose share is above. */
  luck: readonly number[];
  /** Requests per second. */
  demand: number;
  site: number;
}

interface View {
  shedding: ReadonlyMap<string, Shedding>;
  /** Seconds after the others that its rounds come. */
  offset: number;
  /** Seconds after which it sees that a site died or came back. */
  lag: number;
}

export interface World {
  /** Load of each site over the last ten seconds. */
  loads: () => number[];
  kept: (edge: number) => number[];
  setCapacities: (capacities: Capacities) => void;
  /** Multiplies the demand of the clients whose nearest site it is. */
  scale: (site: number, factor: number) => void;
  setUp: (site: number, isUp: boolean) => void;
  /**
   * @param round called with each edge's shares after each of its rounds
   * @param second called after each second
   */
  pass: (seconds: number, round?: (edge: number, kept: readonly number[]) => void, second?: () => void) => void;
}

const windowSeconds = 10;
const roundSeconds = loadIntervalMs / 1000;
/** What is measured is wrong by up to this part of it, for each edge another. */
const noise = 0.02;

export function openWorld({ seed, ttlSeconds, sites, edges, clients, isTold }: WorldOptions): World {
  const random = seededRandom(seed);
  const names = Array.from({ length: sites }, (_, site) => `s${site}`);
  const places = names.map(() => ({ x: random(), y: random() }));
  const changedAt = names.map(() => -1000);
  const isUp = names.map(() => true);
  let fleet = fleetOf(names, ttlSeconds, []);
  let now = 0;

  const all = Array.from({ length: clients }, (): Client => {
    const [x, y] = [random(), random()];
    const far = places.map((place) => (place.x - x) ** 2 + (place.y - y) ** 2);
    const near = [...names.keys()].toSorted((a, b) => (far[a] ?? 0) - (far[b] ?? 0));
    return { near, luck: names.map(() => random()), demand: 0.5 + random(), site: near[0] ?? 0 };
  });
  const views = Array.from({ length: edges }, (): View => {
    // Rounds fall on the same moments, but one clock in five is wrong.
    const offset = Math.floor(random() * (random() < 0.8 ? 2 : roundSeconds));
    return { shedding: new Map(), offset, lag: Math.floor(random() * 4) };
  });
  /** Clients by the second, counted round, in which their answers end. */
  const ends: Client[][] = Array.from({ length: ttlSeconds + 1 }, () => []);
  /** The shares by the site's number. */
  const keptNow = new Map<View, number[]>();
  const load = names.map(() => 0);
  const history: number[][] = [];
  for (const client of all) {
    load[client.site] = (load[client.site] ?? 0) + client.demand;
    ends[Math.floor(random() * ttlSeconds)]?.push(client);
  }

  const sees = (view: View, site: number): boolean =>
    now - (changedAt[site] ?? 0) >= view.lag ? isUp[site] === true : isUp[site] !== true;
  const keptBy = (view: View | undefined, site: number): number => view?.shedding.get(`s${site}`)?.kept ?? 1;
  const keptOf = (edge: number): number[] => names.map((_, site) => keptBy(views[edge], site));
  const loadsOf = (): number[] =>
    names.map((_, site) => history.reduce((sum, one) => sum + (one[site] ?? 0), 0) / Math.max(history.length, 1));

  /** The nearest site that is up and keeps the client; where none does, the nearest that is up. */
  function siteFor(client: Client, view: View): number {
    const kept = keptNow.get(view);
    let first: number | undefined;
    for (const site of client.near) {
      if (!sees(view, site)) continue;
      first ??= site;
      if ((client.luck[site] ?? 0) < (kept?.[site] ?? 1)) return site;
    }
    return first ?? 0;
  }

  function askAgain(): void {
    const due = ends[now % ends.length]?.splice(0) ?? [];
    for (const client of due) {
      const view = views[Math.floor(random() * views.length)];
      if (view === undefined) continue;
      load[client.site] = (load[client.site] ?? 0) - client.demand;
      client.site = siteFor(client, view);
      load[client.site] = (load[client.site] ?? 0) + client.demand;
      // A resolver's answer is some while old already when it serves another client.
      ends[(now + 1 + Math.floor(random() * ttlSeconds)) % ends.length]?.push(client);
    }
  }

  function runRound(view: View): void {
    const measured = new Map<string, number>();
    const told = new Map<string, number>();
    const states = new Map<string, SiteState>();
    for (const [site, one] of loadsOf().entries()) {
      states.set(`s${site}`, sees(view, site) ? "up" : "down");
      if (!sees(view, site)) continue;
      measured.set(`s${site}`, one * (1 + (random() * 2 - 1) * noise));
      const decider = views[site % views.length];
      if (isTold && decider !== view) told.set(`s${site}`, keptBy(decider, site));
    }
    view.shedding = nextShedding(view.shedding, fleet, states, measured, told);
    keptNow.set(
      view,
      names.map((_, site) => keptBy(view, site)),
    );
  }

  return {
    loads: loadsOf,
    kept: keptOf,
    setCapacities(capacities) {
      fleet = fleetOf(names, ttlSeconds, capacities);
    },
    scale(site, factor) {
      for (const client of all) {
        if (client.near[0] !== site) continue;
        load[client.site] = (load[client.site] ?? 0) + client.demand * (factor - 1);
        client.demand *= factor;
      }
    },
    setUp(site, next) {
      isUp[site] = next;
      changedAt[site] = now;
    },
    pass(seconds, round, second) {
      for (const end = now + seconds; now < end;) {
        now += 1;
        askAgain();
        history.push(load.map((one, site) => (isUp[site] === true ? one * (0.97 + random() * 0.06) : 0)));
        if (history.length > windowSeconds) history.shift();
        for (const [edge, view] of views.entries()) {
          if ((now + view.offset) % roundSeconds !== 0) continue;
          runRound(view);
          round?.(edge, keptOf(edge));
        }
        second?.();
      }
    },
  };
}

function fleetOf(names: readonly string[], ttlSeconds: number, capacities: Capacities): Fleet {
  return fleetWith({
    sites: names.map((name, site) => {
      const requestsPerSecond = capacities[site];
      return siteValue(name, requestsPerSecond === undefined ? {} : { capacity: { requestsPerSecond } });
    }),
    steering: [{ name: "img.cdn.test", policy: "geo", ttlSeconds }],
  });
}

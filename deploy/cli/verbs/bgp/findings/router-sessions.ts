/** Checks the sessions between BIRD and the site's routers, and BFD with them. */
import { command } from "#base/command-name.ts";
import type { AnnouncementPlan, PlannedRouter } from "../announcement-plan.ts";
import type { BirdSession, BirdState } from "../bird-state.ts";
import { type Facts, leaseSources } from "../machine-facts.ts";
import type { Finding } from "./finding.ts";
import { sameAddress } from "./same-address.ts";
import { configAgain, sessionWith, wordsOf } from "./sessions.ts";

export function* routerFindings(
  { edge, processes }: Facts,
  plan: AnnouncementPlan,
  state: BirdState,
): Generator<Finding> {
  const leases = leaseSources(edge, processes).flatMap((source) => sessionWith(state, source) ?? []);
  const announcedCount = Math.max(0, ...leases.map(({ importedCount }) => importedCount));
  for (const router of plan.routers.filter((one) => one.families.length > 0)) {
    const session = sessionWith(state, router.address);
    if (session === undefined) {
      yield {
        level: "fail",
        about: "routers",
        what: `BIRD has no session configured for the router ${router.address}`,
        mend: configAgain(plan),
      };
      continue;
    }
    yield* sessionFindings(router, session, plan, announcedCount);
    yield bfdFinding(router, plan, state);
  }
}

function* sessionFindings(
  router: PlannedRouter,
  session: BirdSession,
  plan: AnnouncementPlan,
  announcedCount: number,
): Generator<Finding> {
  const { name, state, neighborAs, holdSeconds, hasGracefulRestart, exportedCount } = session;
  if (neighborAs !== undefined && neighborAs !== router.as) {
    const what = `${name} expects AS ${neighborAs} at ${router.address}, but the fleet document has ${router.as}`;
    yield { level: "fail", about: "routers", what, mend: `bird.conf: neighbor ${router.address} as ${router.as};` };
  }
  if (state !== "Established") {
    yield {
      level: "fail",
      about: "routers",
      what: `no session with the router ${router.address} (${name}: ${wordsOf(session)})`,
      mend: `is it configured for this node? ${command} bgp config --site ${plan.site} --router bird|frr|junos`,
    };
    return;
  }
  if (hasGracefulRestart) {
    yield {
      level: "fail",
      about: "routers",
      what: `${name} offers graceful restart: ${router.address} would keep the routes of a dead node`,
      mend: "bird.conf: graceful restart off;",
    };
  }
  if (holdSeconds !== undefined && holdSeconds > plan.holdSeconds) {
    yield {
      level: "warn",
      about: "routers",
      what: `${name} has a hold time of ${holdSeconds} s; the fleet document has ${plan.holdSeconds} s`,
      mend: `bird.conf: hold time ${plan.holdSeconds};`,
    };
  }
  if (announcedCount > 0 && exportedCount === 0) {
    yield {
      level: "fail",
      about: "routers",
      what: `${name} is up, but the edge's prefixes are not exported to ${router.address}`,
      mend: `bird.conf: export where proto ~ "edge*";`,
    };
    return;
  }
  yield {
    level: "ok",
    about: "routers",
    what: `${name} (${router.address}) is up, ${exportedCount} prefixes, hold time ${holdSeconds ?? "?"} s`,
  };
}

function bfdFinding(router: PlannedRouter, plan: AnnouncementPlan, state: BirdState): Finding {
  const { intervalMs, multiplier } = plan.bfd;
  const wantedMs = intervalMs * multiplier;
  const bfd = state.bfd.find(({ address }) => sameAddress(address, router.address));
  if (bfd === undefined) {
    return {
      level: "fail",
      about: "routers",
      what: `no BFD with ${router.address}: a silent link failure is noticed only after ${plan.holdSeconds} s`,
      mend: "bird.conf: add `bfd on;` to the session, and a protocol bfd",
    };
  }
  if (!bfd.isUp) {
    return {
      level: "fail",
      about: "routers",
      what: `BFD with ${router.address} is not up`,
      mend: "does the router run BFD, and do firewalls allow UDP port 3784?",
    };
  }
  // BIRD reports its own interval and its detection time: a slower other side makes the latter longer.
  const isSlow = bfd.timeoutMs > wantedMs * 1.01;
  return isSlow
    ? {
        level: "warn",
        about: "routers",
        what: `BFD with ${router.address} detects failures in ${bfd.timeoutMs} ms; the document has ${wantedMs} ms`,
        mend: `on the router: BFD interval ${intervalMs} ms, multiplier ${multiplier}`,
      }
    : {
        level: "ok",
        about: "routers",
        what: `BFD with ${router.address} is up and detects failures in ${bfd.timeoutMs} ms`,
      };
}

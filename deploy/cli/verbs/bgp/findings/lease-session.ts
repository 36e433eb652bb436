/** Checks the sessions between BIRD and the edge's processes. */
import { command } from "#base/command-name.ts";
import type { AnnouncementPlan } from "../announcement-plan.ts";
import type { BirdSession, BirdState } from "../bird-state.ts";
import { type Facts, leaseSources } from "../machine-facts.ts";
import type { Finding } from "./finding.ts";
import { sameAddress } from "./same-address.ts";
import { configAgain, sessionWith, wordsOf } from "./sessions.ts";

export function* leaseFindings(
  { edge, processes, addresses }: Facts,
  plan: AnnouncementPlan,
  state: BirdState,
): Generator<Finding> {
  const { announce } = edge;
  if (announce === undefined) {
    yield {
      level: "fail",
      about: "lease",
      what: "edge.yaml has no `announce` section: this node announces nothing",
      mend: "add it; see deploy/config/edge.example.yaml",
    };
    return;
  }
  for (const hop of announce.nextHops.filter((one) => !addresses.some(({ address }) => sameAddress(address, one)))) {
    yield {
      level: "fail",
      about: "lease",
      what: `announce.nextHops has ${hop}, which is not an address of this machine`,
      mend: "edge.yaml: set announce.nextHops to this machine's addresses towards its router",
    };
  }
  for (const source of leaseSources(edge, processes)) {
    const session = sessionWith(state, source);
    yield session === undefined
      ? {
          level: "fail",
          about: "lease",
          what: `BIRD has no session configured for the edge at ${source}`,
          mend: configAgain(plan),
        }
      : leaseFinding(session, source, plan, announce.holdSeconds);
  }
}

function leaseFinding(session: BirdSession, source: string, plan: AnnouncementPlan, holdSeconds: number): Finding {
  const { name, state, neighborAs, importedCount } = session;
  if (neighborAs !== undefined && neighborAs !== plan.as) {
    return {
      level: "fail",
      about: "lease",
      what: `${name} expects AS ${neighborAs}, but the fleet document has ${plan.as}`,
      mend: configAgain(plan),
    };
  }
  if (state !== "Established") {
    return {
      level: "fail",
      about: "lease",
      what: `the edge at ${source} has no session with BIRD (${name}: ${wordsOf(session)})`,
      mend: `run ${command} status to see why the edge does not announce`,
    };
  }
  if (session.holdSeconds !== undefined && session.holdSeconds > holdSeconds) {
    return {
      level: "warn",
      about: "lease",
      what: `${name} has a hold time of ${session.holdSeconds} s: a frozen edge stays announced that long`,
      mend: `bird.conf: hold time ${holdSeconds};`,
    };
  }
  return importedCount === 0
    ? {
        level: "warn",
        about: "lease",
        what: `${name} is up, but the edge announces nothing`,
        mend: `run ${command} status to see why`,
      }
    : {
        level: "ok",
        about: "lease",
        what: `${name} is up, ${importedCount} prefixes, hold time ${session.holdSeconds ?? "?"} s`,
      };
}

/**
 * Which drills there are, and in which order.
 *
 * Long form: one after the other. Short form: those of one round at the same time, each on a site of its own, so that
 * none meets another's fault.
 */
import type { Drill } from "./drill.ts";
import { birdRestarted, noResurrection } from "./drills-bird.ts";
import { edgeFrozen, edgeKilled, loopBlocked, nodeReturns, plannedDrain, siteKilled } from "./drills-edge.ts";
import { nearestSite, pictureEverywhere } from "./drills-first.ts";
import { blackhole, linkDown, sitePartitioned, twoClouds } from "./drills-path.ts";

const shortRounds: readonly (readonly Drill[])[] = [
  [nearestSite, pictureEverywhere],
  // These hurt no edge …
  [blackhole("fra"), birdRestarted("tyo")],
  [blackhole("nyc"), linkDown("fra")],
  // … these hurt one each, which then takes 12 s and more to announce again …
  [edgeKilled(["tyo", "nyc", "fra"])],
  [loopBlocked("tyo")],
  [plannedDrain("nyc")],
  // … and by now they do, or are not needed.
  [siteKilled("fra"), edgeFrozen("tyo")],
  [noResurrection("fra")],
];

export function drillRounds(isShort: boolean, only: readonly string[]): readonly (readonly Drill[])[] {
  const rounds = isShort ? shortRounds : longRounds();
  if (only.length === 0) return rounds;
  const all = [...rounds, ...longRounds()].flat();
  return only.map((name) => {
    const found = all.find((drill) => drill.name === name);
    if (found === undefined) throw new Error(`there is no drill ${name}; there are: ${drillNames().join(", ")}`);
    return [found];
  });
}

export function drillNames(): readonly string[] {
  return [...new Set(longRounds().flatMap((round) => round.map(({ name }) => name)))];
}

function longRounds(): readonly (readonly Drill[])[] {
  const drills = [
    nearestSite,
    pictureEverywhere,
    edgeKilled(["tyo", "nyc", "fra"]),
    linkDown("nyc"),
    blackhole("nyc"),
    birdRestarted("tyo"),
    loopBlocked("nyc"),
    edgeFrozen("tyo"),
    blackhole("fra"),
    twoClouds("nyc"),
    nodeReturns("tyo"),
    plannedDrain("fra"),
    siteKilled("nyc"),
    sitePartitioned("tyo"),
    noResurrection("fra"),
  ];
  return drills.map((drill) => [drill]);
}

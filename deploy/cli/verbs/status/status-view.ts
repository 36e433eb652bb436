/**
 * Formats `nearcast status` from the answers of admin listeners; pure. Nodes exchange their states, so one node's
 * answer describes the whole fleet as that node sees it. Further nodes are asked if they are known, and the output says
 * where their views of a site differ.
 *
 * Nodes may run another release: missing fields are shown as `-`.
 */
import { asTyped } from "#base/command-name.ts";
import type { NodeStatus, SeenSite, Witness } from "../../node-status.ts";
import { sizeText, tableLines } from "../../output.ts";
import { mapLines, type MapSite } from "./status-map.ts";

export interface OriginState {
  url: string;
  isReached: boolean;
  reason: string | undefined;
  fleetVersion: number | undefined;
}

type Cell = string | number | undefined | null;

export function statusLines(origin: OriginState, witnesses: readonly Witness[], isWithMap: boolean): string[] {
  const originLine = origin.isReached
    ? `origin  ${origin.url}  up, fleet version ${origin.fleetVersion ?? "none yet"}`
    : `origin  ${origin.url}  ${origin.reason ?? "unreachable"}`;
  if (witnesses.length === 0) return [originLine];
  // With many nodes, some leave out what they see of the others.
  const seen = witnesses.find((witness) => sitesOf(witness).length > 0);
  return [
    originLine,
    "",
    ...askedLines(witnesses),
    ...(seen === undefined ? [] : ["", ...fleetLines(seen, isWithMap)]),
    ...disagreementLines(witnesses),
  ];
}

/** The nodes that were asked: what only they themselves know. */
function askedLines(witnesses: readonly Witness[]): string[] {
  const hasTls = witnesses.some(({ answer }) => answer.outcome === "answered" && (answer.status.tls ?? null) !== null);
  const rows = witnesses.map(({ name, site, at, answer }): Cell[] => {
    if (answer.outcome !== "answered") return [name, site, answer.kind];
    const { status } = answer;
    return [
      name,
      site ?? status.site,
      stateOf(status),
      status.fleetVersion,
      status.feed?.state,
      status.feed?.position?.seq,
      bytesCell(status.cache?.memory?.bytes),
      bytesCell(status.cache?.disk?.bytes),
      // The beginning of the fleet secret's id: enough to verify that all nodes have the same secret.
      status.fleetSecret?.slice(0, 8),
      leaseCell(status),
      ...(hasTls ? [httpsCell(status)] : []),
      at,
    ];
  });
  const tlsHeads = hasTls ? ["HTTPS"] : [];
  const heads = ["ASKED", "SITE", "STATE", "FLEET", "FEED", "EVENT", "MEMORY", "DISK", "SECRET", "LEASE", ...tlsHeads];
  const whys = witnesses.flatMap(({ name, answer }) =>
    (answer.outcome === "answered" ? whysOf(answer.status) : [answer.reason]).map(
      (why) => `  ${name}: ${asTyped(why)}`,
    ),
  );
  return [...tableLines([...heads, "ASKED AT"], rows), ...whys];
}

/** Number of certificates, and the day on which the first of them expires: `3 to 2027-01-31`. */
function httpsCell({ tls }: NodeStatus): Cell {
  if (tls === null || tls === undefined) return undefined;
  return `${tls.certificates ?? "?"} to ${(tls.nextExpiry ?? "?").slice(0, 10)}`;
}

/** What the owner of a node that answers should know. */
function whysOf(status: NodeStatus): string[] {
  const { unready, isIsolated, feed, originToken, announce, lanes, decoders, tls } = status;
  const hostsWithout = tls?.hostsWithout ?? [];
  const redirecting = status.redirectingWithoutHttps ?? [];
  return [
    ...(unready === undefined || unready === null || unready.length === 0 ? [] : [unready.join("; ")]),
    ...(isIsolated === true ? ["it reaches no other node, so DNS on it answers with its own site"] : []),
    ...(isEmpty(feed?.warning) ? [] : [feed?.warning ?? ""]),
    ...(isEmpty(originToken?.warning) ? [] : [originToken?.warning ?? ""]),
    ...(isEmpty(announce?.reason) ? [] : [`lease: ${announce?.reason ?? ""}`]),
    ...(tls?.problems ?? []),
    ...(hostsWithout.length === 0 ? [] : [`no certificate for ${hostsWithout.join(", ")}`]),
    ...(redirecting.length === 0 ? [] : [`serves no HTTPS, but redirects to it: ${redirecting.join(", ")}`]),
    ...(isEmpty(lanes?.absent) ? [] : [`works without lanes: ${lanes?.absent ?? ""}`]),
    ...(decoders?.sandbox === "none" ? [`decoders run without a sandbox: ${decoders.sandboxReason ?? "-"}`] : []),
  ];
}

function isEmpty(text: string | null | undefined): boolean {
  return text === undefined || text === null || text === "";
}

/** All sites and all nodes, as the asked node sees them. */
function fleetLines(witness: Witness, isWithMap: boolean): string[] {
  const sites = sitesOf(witness);
  const siteRows = sites.map((site): Cell[] => {
    const nodes = site.nodes ?? [];
    const up = nodes.filter(({ state }) => state === "up").length;
    return [
      site.name,
      site.place?.city,
      site.state,
      percent(site.pressure),
      rate(site.requestsPerSecond),
      percent(site.keptShare),
      `${up}/${nodes.length}`,
      (site.addresses ?? []).join(" "),
      site.reason,
    ];
  });
  const nodeRows = sites.flatMap((site) =>
    (site.nodes ?? []).map((node): Cell[] => [
      node.name,
      site.name,
      node.state,
      rate(node.requestsPerSecond),
      milliseconds(node.loopDelayMs),
      node.rendersWaiting,
      node.release,
      node.fleetVersion,
      node.feedSeq,
      (node.announced ?? []).join(" ") || "-",
      node.reason,
    ]),
  );
  const mapped = sites.flatMap(({ name, state, place }): MapSite[] => {
    const { latitude, longitude } = place ?? {};
    if (typeof latitude !== "number" || typeof longitude !== "number") return [];
    return [{ name: name ?? "?", state: state ?? "?", latitude, longitude }];
  });
  return [
    ...(isWithMap ? [...mapLines(mapped), ""] : []),
    `the fleet, as ${witness.name} sees it:`,
    "",
    ...tableLines(["SITE", "PLACE", "STATE", "FULL", "REQ/S", "KEEPS", "UP", "ADDRESSES", "REASON"], siteRows),
    "",
    ...tableLines(
      ["NODE", "SITE", "STATE", "REQ/S", "LOOP", "QUEUE", "RELEASE", "FLEET", "EVENT", "ANNOUNCES", "REASON"],
      nodeRows,
    ),
  ];
}

/** Sites about which the asked nodes disagree. */
function disagreementLines(witnesses: readonly Witness[]): string[] {
  const views = witnesses.flatMap((witness) => sitesOf(witness).map((site) => ({ by: witness.name, site })));
  const lines: string[] = [];
  for (const [name, said] of Map.groupBy(views, ({ site }) => site.name ?? "?")) {
    const byState = Map.groupBy(said, ({ site }) => site.state ?? "?");
    if (byState.size < 2) continue;
    const parts = [...byState].map(([state, by]) => `${state} for ${by.map((one) => one.by).join(", ")}`);
    lines.push(`  ${name} is ${parts.join("; ")}`);
  }
  return lines.length === 0 ? [] : ["", "nodes disagree:", ...lines];
}

function sitesOf({ answer }: Witness): readonly SeenSite[] {
  return answer.outcome === "answered" ? (answer.status.sites ?? []) : [];
}

function stateOf({ ready, presence, standing }: NodeStatus): string {
  if (ready === true) return "ready";
  if (standing === "removed") return "removed";
  // By an operator, or because its process is stopping: the line below the table says which.
  return standing === "draining" || presence === "draining" ? "draining" : "not ready";
}

function leaseCell({ announce }: NodeStatus): Cell {
  const announced = (announce?.announced ?? []).join(" ");
  if (announced === "") return announce?.session;
  return announce?.isShuttingDown === true ? `${announced} (shutting down)` : announced;
}

type Figure = number | null | undefined;

function bytesCell(bytes: Figure): string | undefined {
  return typeof bytes === "number" ? sizeText(bytes) : undefined;
}

function percent(part: Figure): string | undefined {
  return typeof part === "number" ? `${Math.round(part * 100)} %` : undefined;
}

function rate(perSecond: Figure): number | undefined {
  return typeof perSecond === "number" ? Math.round(perSecond * 10) / 10 : undefined;
}

function milliseconds(ms: Figure): string | undefined {
  return typeof ms === "number" ? `${Math.round(ms)} ms` : undefined;
}

/**
 * What `nearcast status` shows, from the answers of admin listeners; pure. Nodes tell each other of themselves, so one
 * node's answer describes the whole fleet as that node sees it. Further nodes are asked where they are known, and where
 * they see a site differently it is said.
 *
 * Answers may come from a node of another release: whatever is not there shows as `-`.
 */
import { cell, inside } from "./admin-client.ts";
import type { Reply } from "./ask-nodes.ts";
import { sizeText, tableLines } from "./output.ts";
import { mapLines, type MapSite } from "./status-map.ts";

export interface OriginState {
  url: string;
  isReached: boolean;
  reason: string | undefined;
  fleetVersion: number | undefined;
}

type Cell = string | number | undefined;

export function statusLines(origin: OriginState, witnesses: readonly Reply[], isWithMap: boolean): string[] {
  const originLine = origin.isReached
    ? `origin  ${origin.url}  up, fleet version ${origin.fleetVersion ?? "none yet"}`
    : `origin  ${origin.url}  ${origin.reason ?? "unreachable"}`;
  if (witnesses.length === 0) return [originLine];
  // Of many nodes some leave out what they see of the others.
  const seen = witnesses.map(statusOf).find((status) => list(status, "sites").length > 0);
  return [
    originLine,
    "",
    ...askedLines(witnesses),
    ...(seen === undefined ? [] : ["", ...fleetLines(seen, isWithMap)]),
    ...disagreementLines(witnesses),
  ];
}

/** The nodes that were asked themselves: what only they know. */
function askedLines(witnesses: readonly Reply[]): string[] {
  const rows = witnesses.map(({ name, site, at, answer }): Cell[] => {
    if (answer.outcome !== "answered") return [name, site, answer.kind];
    const status = answer.body;
    return [
      nameOf(status) ?? name,
      cell(status["site"]) ?? site,
      stateOf(status),
      cell(status["fleetVersion"]),
      cell(inside(status, "feed", "state")),
      cell(inside(status, "feed", "position", "seq")),
      bytesCell(status, "memory"),
      bytesCell(status, "disk"),
      secretCell(status),
      leaseCell(status),
      at,
    ];
  });
  const heads = ["ASKED", "SITE", "STATE", "FLEET", "FEED", "EVENT", "MEMORY", "DISK", "SECRET", "LEASE", "ASKED AT"];
  const whys = witnesses.flatMap(({ name, answer }) => {
    if (answer.outcome !== "answered") return [`${name}: ${answer.reason}`];
    const status = answer.body;
    const reasons = list(status, "unready").map(String);
    const lease = cell(inside(status, "announce", "reason"));
    const token = cell(inside(status, "originToken", "warning"));
    return [
      ...(reasons.length > 0 ? [`${name}: ${reasons.join("; ")}`] : []),
      ...(status["isIsolated"] === true ? [`${name}: reaches no other node, answers with its own site`] : []),
      ...(token === undefined || token === "" ? [] : [`${name}: ${token}`]),
      ...(lease === undefined || lease === "" ? [] : [`${name}: lease: ${lease}`]),
      ...sandboxLines(name, status),
    ];
  });
  return [...tableLines(heads, rows), ...whys.map((why) => `  ${why}`)];
}

function sandboxLines(name: string, status: Record<string, unknown>): string[] {
  if (inside(status, "decoders", "sandbox") !== "none") return [];
  return [`${name}: decoders work without a sandbox: ${cell(inside(status, "decoders", "sandboxReason")) ?? "-"}`];
}

/** All sites and all nodes, as the node sees them that was asked. */
function fleetLines(status: Record<string, unknown>, isWithMap: boolean): string[] {
  const sites = list(status, "sites");
  const siteRows = sites.map((site): Cell[] => {
    const nodes = list(site, "nodes");
    const up = nodes.filter((node) => inside(node, "state") === "up").length;
    return [
      cell(inside(site, "name")),
      cell(inside(site, "place", "city")),
      cell(inside(site, "state")),
      percent(inside(site, "pressure")),
      rate(inside(site, "requestsPerSecond")),
      percent(inside(site, "keptShare")),
      `${up}/${nodes.length}`,
      list(site, "addresses").join(" "),
    ];
  });
  const nodeRows = sites.flatMap((site) =>
    list(site, "nodes").map((node): Cell[] => [
      cell(inside(node, "name")),
      cell(inside(site, "name")),
      cell(inside(node, "state")),
      rate(inside(node, "requestsPerSecond")),
      milliseconds(inside(node, "loopDelayMs")),
      cell(inside(node, "rendersWaiting")),
      cell(inside(node, "release")),
      cell(inside(node, "fleetVersion")),
      cell(inside(node, "feedSeq")),
      list(node, "announced").join(" ") || "-",
      cell(inside(node, "reason")),
    ]),
  );
  const mapped = sites.flatMap((site): MapSite[] => {
    const [latitude, longitude] = [inside(site, "place", "latitude"), inside(site, "place", "longitude")];
    if (typeof latitude !== "number" || typeof longitude !== "number") return [];
    return [{ name: String(inside(site, "name")), state: String(inside(site, "state")), latitude, longitude }];
  });
  return [
    ...(isWithMap ? [...mapLines(mapped), ""] : []),
    `as ${nameOf(status) ?? "it"} sees the fleet:`,
    "",
    ...tableLines(["SITE", "PLACE", "STATE", "FULL", "REQ/S", "KEEPS", "UP", "ADDRESSES"], siteRows),
    "",
    ...tableLines(
      ["NODE", "SITE", "STATE", "REQ/S", "LOOP", "QUEUE", "RELEASE", "FLEET", "EVENT", "ANNOUNCES", "REASON"],
      nodeRows,
    ),
  ];
}

/** Sites of which the asked nodes say different things. */
function disagreementLines(witnesses: readonly Reply[]): string[] {
  const views = witnesses.flatMap((witness) => {
    const status = statusOf(witness);
    return list(status, "sites").map((site) => ({ by: (status && nameOf(status)) ?? witness.name, site }));
  });
  const lines: string[] = [];
  for (const [name, said] of Map.groupBy(views, ({ site }) => String(inside(site, "name")))) {
    const byState = Map.groupBy(said, ({ site }) => String(inside(site, "state")));
    if (byState.size < 2) continue;
    const parts = [...byState].map(([state, by]) => `${state} for ${by.map((one) => one.by).join(", ")}`);
    lines.push(`  ${name} is ${parts.join("; ")}`);
  }
  return lines.length === 0 ? [] : ["", "not all see the same:", ...lines];
}

function statusOf({ answer }: Reply): Record<string, unknown> | undefined {
  return answer.outcome === "answered" ? answer.body : undefined;
}

function nameOf(status: Record<string, unknown>): string | undefined {
  const [node, process] = [cell(status["node"]), inside(status, "process", "index")];
  return node === undefined ? undefined : `${node}${typeof process === "number" && process > 0 ? `.${process}` : ""}`;
}

function stateOf(status: Record<string, unknown>): string {
  if (status["ready"] === true) return "ready";
  return status["presence"] === "draining" ? "draining" : "not ready";
}

function leaseCell(status: Record<string, unknown>): string | undefined {
  const session = cell(inside(status, "announce", "session"));
  if (session === undefined) return undefined;
  const announced = list(inside(status, "announce"), "announced").join(" ");
  if (announced === "") return String(session);
  return inside(status, "announce", "isShuttingDown") === true ? `${announced} (shutting down)` : announced;
}

function bytesCell(status: Record<string, unknown>, tier: string): string | undefined {
  const bytes = inside(status, "cache", tier, "bytes");
  return typeof bytes === "number" ? sizeText(bytes) : undefined;
}

/** The beginning of the fleet secret's id: enough to see that all nodes have the same one. */
function secretCell(status: Record<string, unknown>): string | undefined {
  const id = status["fleetSecret"];
  return typeof id === "string" ? id.slice(0, 8) : undefined;
}

function percent(part: unknown): string | undefined {
  return typeof part === "number" ? `${Math.round(part * 100)} %` : undefined;
}

function rate(perSecond: unknown): number | undefined {
  return typeof perSecond === "number" ? Math.round(perSecond * 10) / 10 : undefined;
}

function milliseconds(ms: unknown): string | undefined {
  return typeof ms === "number" ? `${Math.round(ms)} ms` : undefined;
}

function list(value: unknown, key: string): readonly unknown[] {
  const found = inside(value, key);
  return Array.isArray(found) ? found : [];
}

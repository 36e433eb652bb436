/** `nearcast status`: the origin and every node that is known here, and what each node thinks of the sites. */
import type { Command } from "commander";
import { askAdmin, cell, inside } from "./admin-client.ts";
import { CommandFailure, type ExitCode, exitCodes } from "./exit-codes.ts";
import { createOriginClient } from "./origin-client.ts";
import { readFleetVersions } from "./origin-api.ts";
import { sizeText, tableLines } from "./output.ts";
import { type CommonOptions, findNodes, findOrigin, type NodePlace } from "./settings.ts";
import { addVerb, type Cli, outputOf, withAdmin, withOrigin } from "./verb.ts";

type StatusOptions = CommonOptions & { admin?: string[] };
type Reached = { ok: true; status: Record<string, unknown> } | { ok: false; reason: string };

interface OriginState {
  url: string;
  isReached: boolean;
  reason: string | undefined;
  fleetVersion: number | undefined;
}

export function addStatus(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "status",
    summary: "show the origin, the nodes and how they see the sites",
    more: "Exit code 3 when one of them can't be reached, 1 when a node is not ready.",
    examples: ["status", "status --admin http://10.0.3.1:8081 --json"],
  });
  withAdmin(withOrigin(verb)).action(async (options: StatusOptions) => {
    const output = outputOf(cli, options);
    const nodes = await findNodes(options, cli.environment);
    const [origin, ...reached] = await Promise.all([
      originState(options, cli),
      ...nodes.map(async (place) => ({ place, reached: await reach(place) })),
    ]);
    const value = {
      origin,
      nodes: reached.map(({ place, reached: one }) => ({
        name: place.name,
        adminUrl: place.adminUrl,
        ...(one.ok ? { reached: true, ...one.status } : { reached: false, reason: one.reason }),
      })),
    };
    output.answer(value, () => linesOf(origin, reached));
    if (nodes.length === 0) {
      output.note("No node is known here: name them by --admin URL, or the folder of `nearcast up` by --data DIR.");
    }
    cli.end(endOf(origin, reached));
  });
}

async function originState(options: StatusOptions, cli: Cli): Promise<OriginState> {
  const place = await findOrigin(options, cli.environment);
  const client = createOriginClient(place);
  try {
    const [newest] = await readFleetVersions(client, 1);
    return { url: place.url, isReached: true, reason: undefined, fleetVersion: newest?.version };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return { url: place.url, isReached: false, reason: error.message, fleetVersion: undefined };
  } finally {
    await client.close();
  }
}

async function reach(node: NodePlace): Promise<Reached> {
  try {
    const { status, body } = await askAdmin(node, "/status");
    return status === 200 ? { ok: true, status: body } : { ok: false, reason: `its admin listener answers ${status}` };
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    return { ok: false, reason: error.message };
  }
}

function linesOf(origin: OriginState, nodes: readonly { place: NodePlace; reached: Reached }[]): string[] {
  const originLine = origin.isReached
    ? `origin  ${origin.url}  up, fleet version ${origin.fleetVersion ?? "none yet"}`
    : `origin  ${origin.url}  ${origin.reason ?? "unreachable"}`;
  if (nodes.length === 0) return [originLine];
  const rows = nodes.map(({ place, reached }) => {
    if (!reached.ok) return [place.name, place.site, "unreachable"];
    const { status } = reached;
    return [
      cell(status["node"]) ?? place.name,
      cell(status["site"]) ?? place.site,
      stateOf(status),
      cell(status["fleetVersion"]),
      cell(inside(status, "feed", "state")),
      cell(inside(status, "feed", "position", "seq")),
      bytesCell(status, "memory"),
      bytesCell(status, "disk"),
      secretCell(status),
      place.adminUrl,
    ];
  });
  const whys = nodes.flatMap(({ place, reached }) => {
    if (!reached.ok) return [`${place.name}: ${reached.reason}`];
    const reasons = inside(reached.status, "unready");
    return Array.isArray(reasons) && reasons.length > 0 ? [`${place.name}: ${reasons.join("; ")}`] : [];
  });
  return [
    originLine,
    "",
    ...tableLines(["NODE", "SITE", "STATE", "FLEET", "FEED", "EVENT", "MEMORY", "DISK", "SECRET", "ADMIN"], rows),
    ...whys.map((why) => `  ${why}`),
    ...siteLines(nodes),
  ];
}

function stateOf(status: Record<string, unknown>): string {
  if (status["ready"] === true) return "ready";
  return status["presence"] === "draining" ? "draining" : "not ready";
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

/** What a node says of a site: its state, and how much of its clients it keeps when that is not all. */
function siteCell(site: unknown): string | number | undefined {
  const [state, keptShare] = [cell(inside(site, "state")), inside(site, "keptShare")];
  if (typeof keptShare !== "number" || keptShare >= 1) return state;
  return `${state ?? "?"}, keeps ${Math.round(keptShare * 100)} %`;
}

/** One row for each site, one column for each node that was asked: they may see a site differently. */
function siteLines(nodes: readonly { place: NodePlace; reached: Reached }[]): string[] {
  const witnesses = nodes.flatMap(({ place, reached }) => {
    const sites = reached.ok ? inside(reached.status, "sites") : undefined;
    return Array.isArray(sites) ? [{ name: place.name, sites: sites as unknown[] }] : [];
  });
  const names = [...new Set(witnesses.flatMap(({ sites }) => sites.map((site) => String(inside(site, "name")))))];
  if (names.length === 0) return [];
  const seen = (site: string, sites: readonly unknown[]): string | number | undefined =>
    siteCell(sites.find((one) => inside(one, "name") === site));
  return [
    "",
    ...tableLines(
      ["SITE", ...witnesses.map(({ name }) => `SEEN BY ${name}`)],
      names.map((site) => [site, ...witnesses.map(({ sites }) => seen(site, sites))]),
    ),
  ];
}

function endOf(origin: OriginState, nodes: readonly { reached: Reached }[]): ExitCode {
  if (!origin.isReached || nodes.some(({ reached }) => !reached.ok)) return exitCodes.unreachable;
  const isReady = nodes.every(({ reached }) => reached.ok && reached.status["ready"] === true);
  return isReady ? exitCodes.ok : exitCodes.failed;
}

/**
 * The folder of `nearcast up`: writes missing configuration files, and keeps those that somebody changed. Every file is
 * written under a temporary name and renamed, so that an interrupted start leaves no partial file.
 *
 *   planSetup   reads the folder, changes nothing       writeSetup   the configurations
 *   saveState   which nodes run, once they do: other verbs use these from then on
 */
import { command } from "#base/command-name.ts";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { stringify } from "yaml";
import type { EdgeConfig } from "../../../../node/config.ts";
import type { OriginConfig } from "../../../../origin/config.ts";
import {
  edgeFileOf,
  hostPort,
  originFileOf,
  readEdgeConfig,
  readOriginConfig,
  readUpState,
  upFileOf,
  type UpState,
} from "../../settings.ts";
import type { ChildPlan } from "./child-processes.ts";
import { certificateFolderOf } from "./certificate-folder.ts";
import type { Listen } from "./free-addresses.ts";
import { defaultAddress, type PlannedEdge, planEdges, ports } from "./process-plan.ts";

const mebibyte = 1024 * 1024;

export interface Setup {
  dataDir: string;
  origin: { config: OriginConfig; plan: ChildPlan };
  edges: { planned: PlannedEdge; config: EdgeConfig; plan: ChildPlan }[];
  state: UpState;
  /** The previous state, which other verbs use until everything listens. */
  before: UpState | undefined;
  /** Configuration files to write, by path. */
  texts: ReadonlyMap<string, string>;
}

/** The options of `up`; undefined: as last time, or one edge on 127.0.0.1. */
export interface Wanted {
  sites: string[] | undefined;
  address: string | undefined;
  nodesPerSite: number | undefined;
}

/** Reads the folder and plans the processes; changes nothing. */
export async function planSetup(dataDir: string, wanted: Wanted): Promise<Setup> {
  const scratch = await mkdtemp(join(tmpdir(), "nearcast-up-"));
  try {
    return await planIn(scratch, dataDir, wanted);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** @param scratch a folder in which new configuration texts are parsed before they are written */
async function planIn(scratch: string, dataDir: string, wanted: Wanted): Promise<Setup> {
  const before = await readUpState(dataDir);
  const sites = wanted.sites ?? before?.sites ?? ["local"];
  const address = wanted.address ?? before?.address ?? defaultAddress;
  const nodesPerSite = wanted.nodesPerSite ?? before?.nodesPerSite ?? 1;
  const planned = planEdges(sites, address, nodesPerSite);
  const nodes = planned.map(({ node }) => node);
  const state: UpState = { sites, address, nodesPerSite, nodes, written: { ...before?.written } };

  const texts = new Map<string, string>();
  /** The file that contains the configuration now: the one in the folder, or its new text in `scratch`. */
  const take = async (file: string, text: string): Promise<string> => {
    if (await isEdited(file, state)) return file;
    state.written[basename(file)] = digestOf(text);
    texts.set(file, text);
    const read = join(scratch, basename(file));
    await writeFile(read, text);
    return read;
  };

  const originFile = originFileOf(dataDir);
  const originConfig = await readOriginConfig(await take(originFile, originText(dataDir, address)));
  const origin = {
    config: originConfig,
    plan: {
      name: "origin",
      verb: "origin" as const,
      script: new URL("../../../../origin/main.ts", import.meta.url),
      configFile: originFile,
      logFile: join(dataDir, "origin.log"),
      listens: [{ what: "the origin", ...originConfig.listen, transport: "tcp" as const }],
    },
  };
  const edges: Setup["edges"] = [];
  for (const edge of planned) {
    const configFile = edgeFileOf(dataDir, edge.node);
    const config = await readEdgeConfig(await take(configFile, edgeText(dataDir, edge, originConfig, planned.length)));
    edges.push({
      planned: { ...edge, address: config.http[0]?.host ?? edge.address },
      config,
      plan: {
        name: `edge ${edge.node}`,
        verb: "edge" as const,
        script: new URL("../../../../node/main.ts", import.meta.url),
        configFile,
        logFile: join(dataDir, `edge-${edge.node}.log`),
        listens: listensOf(config),
      },
    });
  }
  return { dataDir, origin, edges, state, before, texts };
}

/** Writes the configurations, and records that they are ours; which nodes run is recorded once they do. */
export async function writeSetup({ dataDir, state, before, texts }: Setup): Promise<void> {
  await replaceState(dataDir, { ...(before ?? state), written: state.written });
  for (const [file, text] of texts) await replaceFile(file, text);
}

/** Call this when everything listens: from now on other verbs use these nodes. */
export async function saveState({ dataDir, state }: Setup): Promise<void> {
  await replaceState(dataDir, state);
}

async function replaceState(dataDir: string, state: UpState): Promise<void> {
  await replaceFile(upFileOf(dataDir), `${JSON.stringify(state, null, 2)}\n`);
}

export function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Whether somebody changed the file since `up` wrote it. */
async function isEdited(file: string, state: UpState): Promise<boolean> {
  const there = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return there !== undefined && digestOf(there) !== state.written[basename(file)];
}

async function replaceFile(file: string, text: string): Promise<void> {
  await writeFile(`${file}.tmp`, text);
  await rename(`${file}.tmp`, file);
}

function originText(dataDir: string, address: string): string {
  return withHead("The origin", {
    listen: { host: address, port: ports.origin },
    dataDir: resolve(dataDir, "origin"),
    // `up` must stop everything within five seconds, the edges first.
    drainMs: 500,
  });
}

function edgeText(dataDir: string, edge: PlannedEdge, origin: OriginConfig, edgeCount: number): string {
  return withHead(`The edge node ${edge.node}`, {
    node: edge.node,
    site: edge.site,
    dataDir: resolve(dataDir, `edge-${edge.node}`),
    origin: {
      url: `http://${hostPort(origin.listen.host, origin.listen.port)}`,
      tokenFile: resolve(origin.dataDir, "secrets", "edge.token"),
    },
    http: [{ host: edge.address, port: ports.http }],
    https: {
      addresses: [{ host: edge.address, port: ports.https }],
      certificateDirectory: certificateFolderOf(dataDir).edgeDirectory,
    },
    admin: { host: edge.address, port: ports.admin },
    dns: { addresses: [{ host: edge.address, port: ports.dns }] },
    peer: { host: edge.address, port: ports.peer },
    cache: { memoryBytes: 128 * mebibyte, diskBytes: 2048 * mebibyte },
    // A trial on one machine has its own origins of assets hosts there, too.
    assets: { privateNetworks: ["127.0.0.0/8", "::1/128"] },
    decoders: { processes: Math.max(1, Math.floor(availableParallelism() / edgeCount)) },
    drainMs: 1000,
  });
}

function withHead(what: string, settings: Record<string, unknown>): string {
  const head =
    `# ${what}, written by \`${command} up\`. You can edit it: \`up\` keeps an edited file as it is.\n` +
    "# All settings with their ranges: deploy/docs/configuration.md and deploy/config.\n";
  return head + stringify(settings);
}

function listensOf(config: EdgeConfig): Listen[] {
  const tcp = (what: string, at: { host: string; port: number }): Listen => ({ what, ...at, transport: "tcp" });
  return [
    ...config.http.map((at) => tcp(`HTTP of edge ${config.node}`, at)),
    ...(config.https?.addresses ?? []).map((at) => tcp(`HTTPS of edge ${config.node}`, at)),
    tcp(`admin of edge ${config.node}`, config.admin),
    ...(config.peer === undefined ? [] : [tcp(`peers of edge ${config.node}`, config.peer)]),
    ...config.dns.addresses.flatMap((at) => [
      tcp(`DNS of edge ${config.node}`, at),
      { what: `DNS of edge ${config.node}`, ...at, transport: "udp" as const },
    ]),
  ].filter(({ port }) => port !== 0);
}

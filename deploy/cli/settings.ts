/**
 * Finds the origin, its token and the nodes. Only this file of the command knows the environment variables and the
 * layout of the folder that `nearcast up` writes:
 *
 *   DIR/up.json             what `up` last ran: its edges and the files that it wrote
 *   DIR/origin.yaml         the origin's configuration     DIR/origin/          its data; secrets/*.token
 *   DIR/edge-fra1.yaml      a node's configuration         DIR/edge-fra1/       its cache
 *   DIR/origin.log …        output of the processes; *.log.1 is the previous log
 *
 * or of the folder that `nearcast join` writes:
 *
 *   DIR/edge.yaml           the configuration of the one node of this machine
 *   DIR/edge.token          the edge token                 DIR/edge/            its cache
 *
 * or of a machine that deploy/install.sh set up, if no folder is named and ./data contains none of these:
 *
 *   /etc/nearcast/origin.yaml, /etc/nearcast/edge.yaml
 *
 * Order of precedence: flag, environment, DIR, the installed machine, the default. On a node, the origin is the one
 * that the node follows, and the token is the edge token, which may read.
 */
import { command } from "#base/command-name.ts";
import { loadConfig } from "#base/read-config.ts";
import { systemReason } from "#base/system-reason.ts";
import { access, readdir, readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join, resolve } from "node:path";
import { edgeConfigSchema, type EdgeConfig } from "../../node/config.ts";
import { loadOriginConfig, type OriginConfig } from "../../origin/config.ts";
import { CommandFailure, exitCodes } from "./exit-codes.ts";

export const defaultDataDir = "./data";
const defaultOriginUrl = "http://127.0.0.1:7070";
export const defaultUrlFrom = "the default";
export const defaultDnsServer = { host: "127.0.0.1", port: 5300 };

export type Environment = Readonly<Record<string, string | undefined>>;

/** The options of every verb that connects to the origin or to nodes. */
export interface CommonOptions {
  data?: string;
  origin?: string;
  tokenFile?: string;
  json?: boolean;
}

export interface OriginPlace {
  url: string;
  /** The source of this URL: `--origin`, `NEARCAST_ORIGIN`, a file, `the default`. */
  urlFrom: string;
  /** Read only when needed, since reading pictures requires no token. */
  token: () => Promise<string>;
  /** The file that contains the token; undefined: there is none. */
  tokenFile?: string;
  /** What to do when the origin can't be reached or refuses the token, if that differs from the usual advice. */
  advice?: { readonly unreachable: readonly string[]; readonly token: readonly string[] };
}

export interface NodePlace {
  /** The node's name, or its admin URL if only that is known. */
  name: string;
  site: string | undefined;
  adminUrl: string;
  dns: readonly { host: string; port: number }[];
}

export function dataDirOf(options: CommonOptions, environment: Environment): string {
  return options.data ?? environment["NEARCAST_DATA"] ?? defaultDataDir;
}

export const originFileOf = (dataDir: string): string => join(dataDir, "origin.yaml");
export const edgeFileOf = (dataDir: string, node: string): string => join(dataDir, `edge-${node}.yaml`);
/** Where `join` writes the configuration of this machine's node. */
export const joinedFileOf = (dataDir: string): string => join(dataDir, "edge.yaml");
export const joinedTokenFileOf = (dataDir: string): string => join(dataDir, "edge.token");
export const joinedDataDirOf = (dataDir: string): string => join(dataDir, "edge");
const installedOriginFile = "/etc/nearcast/origin.yaml";
export const installedEdgeFile = "/etc/nearcast/edge.yaml";
/** The unit that install.sh creates on a server. */
export const installedEdgeUnit = "/etc/systemd/system/nearcast-edge.service";
export const upFileOf = (dataDir: string): string => join(dataDir, "up.json");

/** `host:port`, with brackets around an IPv6 host. */
export function hostPort(host: string, port: number): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

/** Whether `nearcast up` could run an origin at this URL: its addresses are all in 127.0.0.0/8. */
export function isTrialAddress(url: string): boolean {
  const host = URL.parse(url)?.hostname ?? "";
  return host === "localhost" || host.startsWith("127.");
}

/** An empty variable counts as one that is not set. */
function setIn(environment: Environment, name: string): string | undefined {
  const value = environment[name];
  return value === "" ? undefined : value;
}

export async function findOrigin(options: CommonOptions, environment: Environment): Promise<OriginPlace> {
  const dataDir = dataDirOf(options, environment);
  const known = await originOfFiles(options, environment);
  const { url, urlFrom } = ((): { url: string; urlFrom: string } => {
    if (options.origin !== undefined) return { url: options.origin, urlFrom: "--origin" };
    const fromEnvironment = setIn(environment, "NEARCAST_ORIGIN");
    if (fromEnvironment !== undefined) return { url: fromEnvironment, urlFrom: "NEARCAST_ORIGIN" };
    return known ?? { url: defaultOriginUrl, urlFrom: defaultUrlFrom };
  })();
  const parsed = URL.parse(url);
  if (parsed === null || !["http:", "https:"].includes(parsed.protocol)) {
    throw new CommandFailure(exitCodes.usage, `${urlFrom}: "${url}" is not an http:// or https:// URL`);
  }
  const tokenFile =
    options.tokenFile ??
    setIn(environment, "NEARCAST_TOKEN_FILE") ??
    known?.tokenFile ??
    join(dataDir, "origin", "secrets", "writer.token");
  return { url: url.replace(/\/+$/, ""), urlFrom, token: async () => await readToken(tokenFile), tokenFile };
}

/** The origin that the configuration files here describe: this machine's, otherwise the one that its node follows. */
async function originOfFiles(
  options: CommonOptions,
  environment: Environment,
): Promise<{ url: string; urlFrom: string; tokenFile: string } | undefined> {
  const dataDir = dataDirOf(options, environment);
  const mayBeInstalled = !isFolderNamed(options, environment);
  const originFiles = [originFileOf(dataDir), ...(mayBeInstalled ? [installedOriginFile] : [])];
  const edgeFiles = [joinedFileOf(dataDir), ...(mayBeInstalled ? [installedEdgeFile] : [])];
  for (const file of originFiles) {
    if (!(await exists(file))) continue;
    const { listen, dataDir: folder } = await readOriginConfig(file);
    const url = `http://${hostPort(listen.host, listen.port)}`;
    return { url, urlFrom: file, tokenFile: join(folder, "secrets", "writer.token") };
  }
  for (const file of edgeFiles) {
    if (!(await exists(file))) continue;
    const { origin } = await readEdgeConfig(file);
    return { url: origin.url, urlFrom: file, tokenFile: origin.tokenFile };
  }
  return undefined;
}

/**
 * The settings of this machine's origin, for verbs that work on its data directory; `dataDir` is its path.
 * @throws CommandFailure when nothing names the directory: a restore must not create one in an arbitrary place
 */
export async function findOriginSettings(
  options: CommonOptions & { config?: string },
  environment: Environment,
): Promise<OriginConfig> {
  if (options.config !== undefined) return await readOriginConfig(options.config);
  const dataDir = dataDirOf(options, environment);
  const mayBeInstalled = !isFolderNamed(options, environment);
  for (const file of [originFileOf(dataDir), ...(mayBeInstalled ? [installedOriginFile] : [])]) {
    if (await exists(file)) return await readOriginConfig(file);
  }
  // The directory of an origin started with --data, or that of `nearcast up` without its settings.
  const ofUp = join(dataDir, "origin");
  const hasUp = await exists(ofUp);
  if (mayBeInstalled && !hasUp) {
    const places = [originFileOf(dataDir), installedOriginFile, ofUp].map((place) => resolve(place));
    throw new CommandFailure(exitCodes.usage, "no origin is configured on this machine", {
      lines: [`Looked for: ${places.join(", ")}`, originFolderAdvice],
    });
  }
  return { ...(await loadOriginConfig()), dataDir: hasUp ? ofUp : dataDir };
}

/** What to do when a verb does not find the origin's data directory. */
export const originFolderAdvice =
  "Give the origin's configuration file (--config origin.yaml) or its data directory (--data DIR).";

function isFolderNamed(options: CommonOptions, environment: Environment): boolean {
  return (options.data ?? environment["NEARCAST_DATA"]) !== undefined;
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, "utf8")).trim();
  } catch (error) {
    throw new CommandFailure(exitCodes.usage, "the writer token can't be read", {
      lines: [
        `${file}: ${systemReason(error)}`,
        "The origin creates it at its first start, in secrets/writer.token in its data directory.",
        `Give the file (--token-file FILE or NEARCAST_TOKEN_FILE) or the directory of \`${command} up\` (--data DIR).`,
      ],
    });
  }
}

export async function readOriginConfig(file: string): Promise<OriginConfig> {
  return await loadOriginConfig({ file });
}

export async function readEdgeConfig(file: string): Promise<EdgeConfig> {
  return await loadConfig(edgeConfigSchema, file, "NEARCAST_EDGE", {});
}

/**
 * The nodes whose admin listeners are known: those of `--admin`, otherwise those that DIR describes, otherwise the
 * installed ones. If an origin is named but no folder, nodes in ./data that follow another origin are ignored: they may
 * be left over from a trial.
 */
export async function findNodes(
  options: CommonOptions & { admin?: readonly string[] },
  environment: Environment,
): Promise<NodePlace[]> {
  if (options.admin !== undefined && options.admin.length > 0) {
    return options.admin.map((adminUrl) => ({
      name: adminUrl,
      site: undefined,
      adminUrl: adminUrl.replace(/\/+$/, ""),
      dns: [],
    }));
  }
  const dataDir = dataDirOf(options, environment);
  const names = (await readUpState(dataDir))?.nodes ?? (await edgeFilesIn(dataDir));
  const files = names.map((name) => edgeFileOf(dataDir, name));
  if (await exists(joinedFileOf(dataDir))) files.push(joinedFileOf(dataDir));
  if (files.length === 0 && !isFolderNamed(options, environment) && (await exists(installedEdgeFile))) {
    files.push(installedEdgeFile);
  }
  const named = isFolderNamed(options, environment)
    ? undefined
    : (options.origin ?? setIn(environment, "NEARCAST_ORIGIN"));
  const nodes: NodePlace[] = [];
  for (const file of files) {
    const config = await readEdgeConfig(file);
    if (named !== undefined && file !== installedEdgeFile && !isSameUrl(named, config.origin.url)) continue;
    nodes.push({
      name: config.node,
      site: config.site,
      adminUrl: `http://${hostPort(config.admin.host, config.admin.port)}`,
      dns: config.dns.addresses,
    });
  }
  return nodes;
}

function isSameUrl(one: string, other: string): boolean {
  return URL.parse(one)?.href.replace(/\/$/, "") === URL.parse(other)?.href.replace(/\/$/, "");
}

async function edgeFilesIn(dataDir: string): Promise<string[]> {
  const files = await readdir(dataDir).catch(() => []);
  return files.flatMap((file) => /^edge-(.+)\.yaml$/.exec(file)?.[1] ?? []).toSorted();
}

export async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

/** What `up` remembers between starts. */
export interface UpState {
  sites: string[];
  address: string;
  /** Absent in the folder of an older release: one node. */
  nodesPerSite?: number;
  /** Names of the nodes, in the order of the sites. */
  nodes: string[];
  /** SHA-256 of each file that `up` wrote, by name: a file that still matches was not edited by hand. */
  written: Record<string, string>;
}

export async function readUpState(dataDir: string): Promise<UpState | undefined> {
  try {
    return JSON.parse(await readFile(upFileOf(dataDir), "utf8")) as UpState;
  } catch {
    // Missing, or truncated by a full disk: `up` then starts from its configuration files.
    return undefined;
  }
}

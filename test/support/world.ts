/**
 * A whole CDN in processes of its own, on addresses of its own: an origin and edges, as a user would start them.
 *
 * Each world takes a /24 of 127.0.0.0/8 by chance, so that worlds of tests running side by side never meet. Everything
 * is stopped, by pid, when the test ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";
import { writeGeoFile } from "./geo-file.ts";

const root = new URL("../../", import.meta.url).pathname;
const edgeMain = new URL("../../node/main.ts", import.meta.url).pathname;
const originMain = new URL("../../origin/main.ts", import.meta.url).pathname;

export const places = {
  fra: { latitude: 50.11, longitude: 8.68 },
  nyc: { latitude: 40.71, longitude: -74.01 },
  tyo: { latitude: 35.68, longitude: 139.69 },
} as const;
export type SiteName = keyof typeof places;

export interface Program {
  pid: number;
  log: () => string;
  /** Its exit status; null while it runs, and when a signal ended it. */
  status: () => number | null;
  /** Ends it without a word, and waits until it is gone. */
  kill: (signal?: NodeJS.Signals) => Promise<void>;
}

export interface WorldEdge {
  name: string;
  site: SiteName;
  address: string;
  url: string;
  adminUrl: string;
  dns: { host: string; port: number };
  tokenFile: string;
  program: () => Program;
  /** Starts it (again), and waits until it is ready. */
  start: () => Promise<void>;
  metrics: () => Promise<Map<string, number>>;
  /** What `nearcast status` reads. */
  status: () => Promise<Record<string, unknown>>;
}

export interface World {
  directory: string;
  originUrl: string;
  originProgram: () => Program;
  startOrigin: () => Promise<void>;
  edges: readonly WorldEdge[];
  /** The first of a site. */
  edge: (site: SiteName) => WorldEdge;
  /** The origin's API with the writer's token; fails the test on any status that is not in `expected`. */
  api: (method: string, path: string, body?: Uint8Array | object, expected?: readonly number[]) => Promise<Response>;
  fleet: () => Record<string, unknown>;
}

const servicePort = 8080;
const adminPort = 8081;
const dnsPort = 5300;
const peerPort = 8082;

/**
 * @param settings `hosts` and `edge` are merged into the fleet document's hosts and each edge's configuration, `dns`
 *   into that one's `dns`. `geo`: a small file of the networks that tests ask for, or the database of nearcast's own.
 *   `nodesPerSite`: more than one, and each has peers
 */
export async function startWorld(
  t: TestContext,
  sites: readonly SiteName[],
  settings: {
    hosts?: readonly object[];
    imagesHost?: object;
    edge?: object;
    dns?: object;
    fleet?: object;
    geo?: "small" | "default";
    nodesPerSite?: number;
    /** Whether nodes have peers also where each is alone in its site. */
    hasPeers?: boolean;
    /** Whether nodes bring addresses of their own to their site, instead of sharing the site's. */
    hasOwnAddresses?: boolean;
    /** Whether each edge has a token file of its own, as on machines of their own, instead of the origin's. */
    hasOwnTokenFiles?: boolean;
    /** Merged into each site of the fleet document. */
    siteOf?: (site: SiteName) => object;
    /** Further settings of one edge. */
    edgeOf?: (edge: { name: string; address: string }) => object;
    /** Further arguments of each edge, and further variables of its environment. */
    edgeWords?: readonly string[];
    edgeEnvironment?: Readonly<Record<string, string>>;
    /** The checkout whose code the origin, or the node of this name, runs; undefined: this one. */
    releaseOf?: (program: string) => string | undefined;
  } = {},
): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-world-"));
  const running = new Set<Program>();
  t.after(async () => {
    await Promise.all([...running].map((program) => program.kill("SIGKILL")));
    // The processes of a supervisor end by themselves, a moment after it.
    await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  });
  const geoFile = join(directory, "geo.mmdb");
  await writeGeoFile(geoFile);
  const geo = settings.geo === "default" ? {} : { geoFiles: [geoFile] };
  const mainOf = (program: string, main: string): string => {
    const checkout = settings.releaseOf?.(program);
    return checkout === undefined ? main : join(checkout, main.slice(root.length));
  };
  const net = `127.${20 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`;
  const originUrl = `http://${net}.1:7070`;
  const secrets = join(directory, "origin", "secrets");

  async function start(
    name: string,
    main: string,
    config: object,
    words: readonly string[] = [],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Program> {
    const path = join(directory, `${name}.yaml`);
    await writeFile(path, stringify(config));
    const child = spawn(process.execPath, [main, "--config", path, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    const program = watch(child, () => running.delete(program));
    running.add(program);
    return program;
  }

  let origin: Program;
  const startOrigin = async (): Promise<void> => {
    origin = await start("origin", mainOf("origin", originMain), {
      listen: { host: `${net}.1`, port: 7070 },
      dataDir: join(directory, "origin"),
    });
    await until("the origin answers", async () => (await fetch(`${originUrl}/healthz`)).ok, origin, startMsMax);
  };
  await startOrigin();
  const writer = (await readFile(join(secrets, "writer.token"), "utf8")).trim();

  const nodesPerSite = settings.nodesPerSite ?? 1;
  const nodes = sites.flatMap((site, at) =>
    Array.from({ length: nodesPerSite }, (_, index) => ({
      site,
      name: `${site}${index + 1}`,
      address: `${net}.${11 + at * nodesPerSite + index}`,
    })),
  );
  const hasOwnAddresses = settings.hasOwnAddresses ?? false;
  const hasPeers = settings.hasPeers ?? nodesPerSite > 1;
  const peerOf = (address: string): object => (hasPeers ? { peer: { host: address, port: peerPort } } : {});
  const fleet = {
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: [`${net}.11`] }] }],
    sites: sites.map((site) => ({
      name: site,
      place: places[site],
      addresses: hasOwnAddresses ? [] : nodes.filter((node) => node.site === site).map(({ address }) => address),
      nodes: nodes
        .filter((node) => node.site === site)
        .map(({ name, address }) => ({
          name,
          http: `http://${address}:${servicePort}`,
          ...peerOf(address),
          ...(hasOwnAddresses ? { addresses: [address] } : {}),
        })),
      ...settings.siteOf?.(site),
    })),
    hosts: [{ name: "img.cdn.test", kind: "images", ...settings.imagesHost }, ...(settings.hosts ?? [])],
    steering: [{ name: "img.cdn.test", policy: "geo" }],
    ...settings.fleet,
  };

  const api: World["api"] = async (method, path, body, expected = [200, 201, 202, 204]) => {
    const isBytes = body instanceof Uint8Array;
    const answer = await fetch(`${originUrl}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${writer}`,
        ...(body === undefined ? {} : { "content-type": isBytes ? "application/octet-stream" : "application/json" }),
      },
      ...(body === undefined ? {} : { body: isBytes ? Buffer.from(body) : JSON.stringify(body) }),
    });
    if (!expected.includes(answer.status)) {
      throw new Error(`${method} ${path}: status ${answer.status}: ${await answer.text()}`);
    }
    return answer;
  };
  const published = await fetch(`${originUrl}/api/v1/fleet`, {
    method: "PUT",
    headers: { authorization: `Bearer ${writer}`, "content-type": "application/yaml" },
    body: stringify(fleet),
  });
  if (!published.ok) throw new Error(`the fleet document was refused: ${await published.text()}`);

  const edges = nodes.map(({ site, name, address }): WorldEdge => {
    const url = `http://${address}:${servicePort}`;
    const adminUrl = `http://${address}:${adminPort}`;
    const originTokenFile = join(secrets, "edge.token");
    const tokenFile = settings.hasOwnTokenFiles === true ? join(directory, `${name}.token`) : originTokenFile;
    let program: Program | undefined;
    const current = (): Program => {
      if (program === undefined) throw new Error(`the edge ${name} was not started`);
      return program;
    };
    return {
      name,
      site,
      address,
      url,
      adminUrl,
      dns: { host: address, port: dnsPort },
      tokenFile,
      program: current,
      async start() {
        if (!existsSync(tokenFile)) await copyFile(originTokenFile, tokenFile);
        const config = {
          node: name,
          site,
          dataDir: join(directory, name === `${site}1` ? site : name),
          ...peerOf(address),
          origin: { url: originUrl, tokenFile },
          http: [{ host: address, port: servicePort }],
          admin: { host: address, port: adminPort },
          dns: { addresses: [{ host: address, port: dnsPort }], ...geo, ...settings.dns },
          drainMs: 200,
          ...settings.edge,
          ...settings.edgeOf?.({ name, address }),
        };
        program = await start(name, mainOf(name, edgeMain), config, settings.edgeWords, settings.edgeEnvironment);
        await until(`${name} is ready`, async () => (await fetch(`${adminUrl}/readyz`)).ok, program, startMsMax);
      },
      status: async () => (await (await fetch(`${adminUrl}/status`)).json()) as Record<string, unknown>,
      async metrics() {
        const text = await (await fetch(`${adminUrl}/metrics`)).text();
        const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
        return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
      },
    };
  });
  await Promise.all(edges.map((edge) => edge.start()));
  return {
    directory,
    originUrl,
    originProgram: () => origin,
    startOrigin,
    edges,
    edge(site) {
      const found = edges.find((edge) => edge.site === site);
      if (found === undefined) throw new Error(`this world has no site ${site}`);
      return found;
    },
    api,
    fleet: () => fleet,
  };
}

function watch(child: ChildProcess, gone: () => void): Program {
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  child.once("exit", gone);
  return {
    pid: child.pid ?? 0,
    log: () => chunks.join(""),
    status: () => child.exitCode,
    async kill(signal = "SIGKILL") {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    },
  };
}

/** A start may take its time on a machine that runs other tests as well; no test here is about how long it takes. */
const startMsMax = 120_000;

/** Asks until it is true. A question that fails counts as no; past two minutes the test fails with `what`. */
export async function until(
  what: string,
  isSo: () => Promise<boolean>,
  program?: Program,
  msMax = 120_000,
): Promise<void> {
  const deadlineMs = performance.now() + msMax;
  for (;;) {
    if (await isSo().catch(() => false)) return;
    const isGone = program !== undefined && !existsSync(`/proc/${program.pid}`) && existsSync("/proc/self");
    if (isGone || performance.now() > deadlineMs) throw new Error(`not so: ${what}\n${program?.log() ?? ""}`);
    await pause(50);
  }
}

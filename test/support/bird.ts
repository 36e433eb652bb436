/**
 * A real BIRD for a test: on loopback addresses of its own, without any protocol that touches the kernel's routes, so
 * that it needs no privilege. Its one BGP stanza for each process of an edge is the one that a node has.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { promisify } from "node:util";
import { temporaryDirectory } from "./temporary.ts";
import { until } from "./world.ts";

const run = promisify(execFile);

export interface BirdRoute {
  prefix: string;
  /** Name of the protocol that it came from: edge0, edge1. */
  from: string;
  localPref: number;
  /** As BIRD writes them, such as `(65535,0)`. */
  communities: string;
  nextHop: string;
  isReachable: boolean;
}

export interface Bird {
  /** Where it listens. */
  host: string;
  port: number;
  /** The source address of an edge's first process. */
  edge: string;
  routes: () => Promise<BirdRoute[]>;
  /** What `birdc` prints. */
  control: (...words: string[]) => Promise<string>;
  /** Ends it without a word and starts it again; resolves when it answers on its control socket. */
  restart: (signal: NodeJS.Signals) => Promise<void>;
  /** Stops or goes on, as the kernel does it. */
  signal: (signal: NodeJS.Signals) => void;
  log: () => string;
}

const port = 1790;

/**
 * @param settings `as` is BIRD's own and what it expects of the edge; `key` is that of the edge's session (TCP MD5);
 * `within` is a command that runs another inside a network namespace
 */
export async function startBird(
  t: TestContext,
  settings: { as?: number; processes?: number; key?: string; within?: readonly string[] } = {},
): Promise<Bird> {
  const { as = 64_500, processes = 1, key, within = [] } = settings;
  const directory = await temporaryDirectory(t);
  const net = `127.${20 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`;
  const socket = join(directory, "ctl");
  const config = join(directory, "bird.conf");
  const channel = (prefixes: string, more = ""): string =>
    `{ ${more} import limit 4 action block; export none;
    import filter { if net ~ [${prefixes}] then { ifname = "lo"; accept; } reject; }; }`;
  const stanzas = Array.from(
    { length: processes },
    (_, index) => `protocol bgp edge${index} {
  local ${net}.1 port ${port} as ${as};
  neighbor ${net}.${2 + index} as ${as};
  ${key === undefined ? "" : `password "${key}";`}
  strict bind yes; passive on; multihop; hold time 3; error wait time 1, 1;
  ipv4 ${channel("192.0.2.0/24, 198.51.100.0/24")};
  ipv6 ${channel("2001:db8:53::/48", "next hop address ::1;")};
}`,
  );
  await writeFile(config, ["log stderr all;", "router id 192.0.2.1;", "protocol device {}", ...stanzas, ""].join("\n"));

  let log = "";
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    const [program, ...words] = [...within, "bird", "-f", "-c", config, "-s", socket];
    const mine = spawn(program ?? "", words, { stdio: ["ignore", "ignore", "pipe"] });
    child = mine;
    mine.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
    // A BIRD that ended never answers; what it said is the reason.
    mine.once("exit", (code) => {
      if (code !== 0 && code !== null) log += `\nBIRD ended with ${code}`;
    });
    const isUp = async (): Promise<boolean> => (await control("show", "status")).includes("up and running");
    await until("BIRD answers", isUp).catch((error: unknown) => {
      throw new Error(log, { cause: error });
    });
  };
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    child.kill("SIGCONT");
    await ended;
  };
  const control: Bird["control"] = async (...words) => (await run("birdc", ["-s", socket, ...words])).stdout;
  t.after(() => kill("SIGKILL"));
  await start();
  return {
    host: `${net}.1`,
    port,
    edge: `${net}.2`,
    control,
    routes: async () => parseRoutes(await control("show", "route", "all")),
    async restart(signal) {
      await kill(signal);
      await start();
    },
    signal(signal) {
      child?.kill(signal);
    },
    log: () => log,
  };
}

function parseRoutes(text: string): BirdRoute[] {
  // A route begins at the left margin, or further in where the prefix has one already.
  const blocks = text.split(/\n(?=[0-9a-f]\S*\/\d|\s+(?:unicast|unreachable) )/);
  let prefix = "";
  return blocks.flatMap((block) => {
    const head = /^(\S*\/\d+)?\s+(unicast|unreachable) \[(\S+)/.exec(block.replace(/^[^]*?(?=[0-9a-f]\S*\/\d+\s)/, ""));
    if (head === null) return [];
    prefix = head[1] ?? prefix;
    const field = (name: string): string => new RegExp(`BGP\\.${name}: (.*)`).exec(block)?.[1]?.trim() ?? "";
    return [
      {
        prefix,
        from: head[3] ?? "",
        localPref: Number(field("local_pref")),
        communities: field("community"),
        nextHop: field("next_hop"),
        isReachable: head[2] === "unicast",
      },
    ];
  });
}

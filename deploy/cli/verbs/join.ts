/**
 * `nearcast join`: turns a fresh machine into a node of the fleet.
 *
 *   token, site known to the origin? ─▶ which address is ours? ─▶ may we listen there? ─▶ registered, with a name
 *                                                                                             │
 *   the edge in the foreground ◀─ edge.yaml, edge.token ◀────────────────────────────────────┘
 *
 * Nothing is registered until everything that can be checked has been checked. When run again, it finds its own
 * registration and its file, and continues.
 */
import { command } from "#base/command-name.ts";
import { parseFleet } from "#document/read-document.ts";
import { writeAtomic } from "#base/atomic-file.ts";
import { systemReason } from "#base/system-reason.ts";
import { type Command, InvalidArgumentError } from "commander";
import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { basename, resolve } from "node:path";
import type { EdgeConfig } from "../../../node/config.ts";
import { CommandFailure, exitCodes } from "../exit-codes.ts";
import { type Decided, disagreements, edgeText } from "./join/edge-file.ts";
import { giveToOwnerOf } from "./join/ownership.ts";
import { addressTowards, isPrivate, type Room, roomFor } from "./join/own-machine.ts";
import { findTaken, type Listen, takenLine } from "./up/free-addresses.ts";
import { createOriginClient, type OriginClient } from "../origin-client.ts";
import { type JoinedNode, mayFollow, readFleet, registerNode } from "../origin-answers.ts";
import type { Output } from "../output.ts";
import { serveProcess } from "../serve-process.ts";
import {
  dataDirOf,
  defaultDataDir,
  exists,
  hostPort,
  installedEdgeFile,
  installedEdgeUnit,
  joinedDataDirOf,
  joinedFileOf,
  joinedTokenFileOf,
  readEdgeConfig,
} from "../settings.ts";
import { addVerb, type Cli, outputOf, wholeNumber } from "../verb.ts";

type DnsPlaces = { dns: Pick<EdgeConfig["dns"], "addresses"> };

interface JoinOptions {
  site: string;
  token?: string;
  tokenFile?: string;
  name?: string;
  address?: string[];
  listen?: string[];
  httpPort: number;
  dnsPort: number;
  peerAddress?: string;
  peerPort: number;
  adminPort: number;
  data?: string;
  start: boolean;
  json?: boolean;
}

export function addJoin(program: Command, cli: Cli): void {
  const verb = addVerb(program, {
    usage: "join <origin>",
    summary: "make this machine a node of the fleet and run it",
    more: [
      "Registers the node with the origin under the next free name of the site, writes edge.yaml and edge.token to",
      "the data directory, and runs the edge in the foreground. The other nodes probe it; DNS hands out its address as",
      "soon as it is up. Run again on the same machine, `join` keeps the name. The token is the edge token, which the",
      "origin stores in secrets/edge.token. Behind NAT, set --address to the public address and --listen to the local",
      "one.",
    ].join("\n"),
    examples: [
      "join http://origin.example.com:7070 --site fra --token-file edge.token",
      "join http://10.0.0.1:7070 --site fra --token-file - --data /var/lib/nearcast --no-start < edge.token",
      "join http://10.0.0.1:7070 --site fra --token-file edge.token --address 198.51.100.7 --listen 10.0.0.7",
    ],
  });
  const port = wholeNumber(1, 65_535);
  verb
    .requiredOption("--site <name>", "site of the node, from the fleet document")
    .option("--token <token>", "the edge token; other users of this machine can see it, so prefer --token-file")
    .option("--token-file <file>", "file that holds the edge token; -: standard input (default: edge.token in --data)")
    .option("--name <name>", "name of the node (default: the site's name and the next free number)")
    .option(
      "--address <ip>",
      "address that clients and other nodes use; repeatable (default: the local address towards the origin)",
      addresses,
    )
    .option("--listen <ip>", "local address to listen on, behind NAT; repeatable (default: --address)", addresses)
    .option("--http-port <port>", "HTTP port", port, 80)
    .option("--dns-port <port>", "DNS port", port, 53)
    .option("--peer-address <ip>", "address for other nodes (default: the first address to listen on)", oneAddress)
    .option("--peer-port <port>", "port for other nodes", port, 8082)
    .option("--admin-port <port>", "port for health and metrics, on 127.0.0.1", port, 8081)
    .option("--data <dir>", `data directory of the node (or NEARCAST_DATA; default: ${defaultDataDir})`)
    .option("--no-start", "register and write the files, but do not start the edge")
    .action(async (origin: string, options: JoinOptions) => {
      const configFile = await join(cli, origin, options);
      if (!options.start) {
        cli.end(exitCodes.ok);
        return;
      }
      await serveProcess(new URL("../../../node/main.ts", import.meta.url), ["--config", configFile], cli.environment);
    });
}

/** @returns the path of the node's configuration */
async function join(cli: Cli, originUrl: string, options: JoinOptions): Promise<string> {
  const output = outputOf(cli, options);
  const url = readOriginUrl(originUrl);
  const dataDir = resolve(dataDirOf(options, cli.environment));
  const configFile = joinedFileOf(dataDir);
  const tokenFile = joinedTokenFileOf(dataDir);
  const { token, from: tokenFrom } = await readToken(options, tokenFile);
  if (options.token !== undefined) {
    output.note("warning: other users of this machine can see a token on the command line: use --token-file FILE or -");
  }
  const client = createOriginClient({
    url: url.href.replace(/\/+$/, ""),
    urlFrom: "the command line",
    token: async () => token,
    advice: {
      unreachable: [
        "Is the origin running? Does it listen on an address that this machine can reach, and is the port right?",
      ],
      token: [tokenAdvice],
    },
  });
  try {
    await mustKnowUs(client, options.site, tokenFrom);
    const ours = options.address ?? [await addressTowards(url)];
    warnOfReach(output, ours, options);
    const decided = decide(client.url, tokenFile, options.listen ?? ours, options);
    const there = (await exists(configFile)) ? await readEdgeConfig(configFile) : undefined;
    if (there !== undefined) mustAgree(configFile, disagreements(there, decided, options.name));
    await mustBeFree(listensOf(there ?? { ...decided, dns: { addresses: decided.dns } }));
    const room = await prepare(dataDir, token);
    const name = options.name ?? there?.node;
    const registered = await register(client, {
      ...(name === undefined ? {} : { name }),
      site: options.site,
      http: `http://${hostPort(ours[0] ?? "", options.httpPort)}`.replace(/:80$/, ""),
      peer: { ...decided.peer, host: options.peerAddress ?? decided.peer.host },
      addresses: ours,
    });
    const { node, revision, unchanged } = registered;
    if (there === undefined) {
      await writeAtomic(configFile, edgeText(node.name, joinedDataDirOf(dataDir), decided, room), { durable: true });
      await giveToOwnerOf(dataDir, [configFile]);
    }
    const start = `${command} edge --config ${configFile}`;
    const isInstalled = await exists(installedEdgeUnit);
    output.answer({ ...node, revision, unchanged, configFile, command: start }, () => [
      `${node.name} ${unchanged ? "is already a node of" : "joined"} site ${node.site} (roster revision ${revision})`,
      `  HTTP           ${node.http}`,
      `  DNS            ${decided.dns.map((at) => hostPort(at.host, at.port)).join(", ")}`,
      `  configuration  ${configFile}`,
      ...(options.start
        ? ["starting; DNS hands out its address as soon as the other nodes find it up"]
        : startLines(configFile, start, isInstalled)),
    ]);
    return configFile;
  } finally {
    await client.close();
  }
}

/** On a server, the service starts the edge: by hand it would run as root. */
function startLines(configFile: string, start: string, isInstalled: boolean): string[] {
  if (!isInstalled) return [`to start it in the foreground: ${start}`];
  return [
    "to start it:",
    `  ln -s ${configFile} ${installedEdgeFile}`,
    `  systemctl enable --now ${basename(installedEdgeUnit, ".service")}`,
  ];
}

const tokenAdvice =
  "Use the edge token of this origin: copy secrets/edge.token from the origin's data directory. " +
  "If the token was rotated, copy the file again.";

function readOriginUrl(text: string): URL {
  const url = URL.parse(text);
  if (url !== null && ["http:", "https:"].includes(url.protocol) && !/[?#@\s]/.test(text)) return url;
  throw new CommandFailure(
    exitCodes.usage,
    `"${text}" is not the URL of an origin; write it like http://10.0.0.1:7070`,
  );
}

/** `from`: the source of the token, for people. */
async function readToken(
  { token: given, tokenFile }: JoinOptions,
  kept: string,
): Promise<{ token: string; from: string }> {
  const [from, text] = await (async (): Promise<[string, string]> => {
    if (given !== undefined) return ["--token", given];
    if (tokenFile === "-") return ["standard input", await readInput()];
    const file = tokenFile ?? kept;
    try {
      return [file, await readFile(file, "utf8")];
    } catch (error) {
      throw new CommandFailure(exitCodes.usage, `the edge token can't be read: ${reasonOfFile(error, file)}`, {
        lines: ["Copy secrets/edge.token from the origin's data directory, and name the copy: --token-file FILE"],
      });
    }
  })();
  const token = text.trim();
  if (/^[\x21-\x7e]{16,200}$/.test(token)) return { token, from };
  throw new CommandFailure(
    exitCodes.usage,
    `${from} does not hold a token: expected 16 to 200 printable ASCII characters without spaces`,
  );
}

/** Reads no more than a token: the rest of a wrong file stays unread. */
async function readInput(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    text += chunk.toString("latin1");
    if (text.length > 1024) break;
  }
  return text;
}

function reasonOfFile(error: unknown, file: string): string {
  return `${file}: ${systemReason(error)}`;
}

/** Creates the folder and the token file before anything is registered. */
async function prepare(dataDir: string, token: string): Promise<Room> {
  try {
    const room = await roomFor(joinedDataDirOf(dataDir));
    await writeAtomic(joinedTokenFileOf(dataDir), `${token}\n`, { mode: 0o600, durable: true });
    await giveToOwnerOf(dataDir, [joinedDataDirOf(dataDir), joinedTokenFileOf(dataDir)]);
    return room;
  } catch (error) {
    throw new CommandFailure(exitCodes.failed, `${dataDir} can't be written: ${(error as Error).message}`, {
      cause: error,
      lines: ["Nothing was registered. To use another directory: --data DIR"],
    });
  }
}

async function register(client: OriginClient, wanted: Parameters<typeof registerNode>[1]): Promise<JoinedNode> {
  try {
    return await registerNode(client, wanted);
  } catch (error) {
    if (!(error instanceof CommandFailure) || error.code !== "NODE_CONFLICT") throw error;
    throw new CommandFailure(error.exitCode, error.message, {
      code: error.code,
      cause: error,
      lines: [
        `To change a registration, remove it first, with the writer token: ${command} remove NODE --now`,
        "To use another name or address: --name NAME, --address IP",
      ],
    });
  }
}

/** Checks that the origin accepts the token as an edge token and has the site. @throws CommandFailure with its sites */
async function mustKnowUs(client: OriginClient, site: string, tokenFrom: string): Promise<void> {
  const newest = await readFleet(client);
  if (!(await mayFollow(client))) {
    throw new CommandFailure(exitCodes.refused, `${tokenFrom} holds the writer token; a node needs the edge token`, {
      code: "FORBIDDEN",
      lines: [tokenAdvice],
    });
  }
  if (newest === undefined) {
    throw new CommandFailure(exitCodes.refused, "the origin has no fleet document yet, so it has no sites", {
      code: "UNKNOWN_SITE",
      lines: [`Publish one first: ${command} fleet apply fleet.yaml`],
    });
  }
  const parsed = parseFleet(newest.text);
  // The document may be from a later release: then the origin alone decides.
  if (!parsed.ok) return;
  const sites = parsed.value.sites.map(({ name }) => name);
  if (sites.includes(site)) return;
  throw new CommandFailure(exitCodes.refused, `the fleet has no site "${site}"`, {
    code: "UNKNOWN_SITE",
    lines: [
      `Its sites: ${sites.join(", ")}`,
      `To add a site, put it into fleet.yaml first, then run: ${command} fleet apply fleet.yaml`,
    ],
  });
}

function warnOfReach(output: Output, ours: readonly string[], options: JoinOptions): void {
  if (ours.some((address) => address.startsWith("127.") || address === "::1")) {
    const loopback = ours.join(", ");
    output.note(`warning: ${loopback} is a loopback address, which only this machine can reach`);
  }
  const hidden = options.address === undefined ? ours.filter(isPrivate) : [];
  if (hidden.length > 0) {
    output.note(
      `warning: ${hidden.join(", ")} is a private address, which clients elsewhere can't reach. ` +
        `If this machine has a public address: --address IP --listen ${hidden[0] ?? ""}`,
    );
  }
}

function decide(originUrl: string, tokenFile: string, listen: readonly string[], options: JoinOptions): Decided {
  const at = (port: number) => listen.map((host) => ({ host, port }));
  // Behind NAT, the address that others reach is not one of this machine's.
  const peerHost = options.listen === undefined ? options.peerAddress : undefined;
  return {
    site: options.site,
    origin: { url: originUrl, tokenFile },
    http: at(options.httpPort),
    admin: { host: "127.0.0.1", port: options.adminPort, hosts: [] },
    dns: at(options.dnsPort),
    peer: { host: peerHost ?? listen[0] ?? "", port: options.peerPort },
  };
}

function mustAgree(configFile: string, lines: readonly string[]): void {
  if (lines.length === 0) return;
  throw new CommandFailure(exitCodes.usage, `${configFile} exists and differs from this command:`, {
    lines: [...lines, "Edit the file, or delete it to create a new one, or use another directory: --data DIR"],
  });
}

function listensOf({ http, admin, dns, peer }: Pick<EdgeConfig, "http" | "admin" | "peer"> & DnsPlaces): Listen[] {
  const tcp = (what: string, { host, port }: { host: string; port: number }): Listen => {
    return { what, host, port, transport: "tcp" };
  };
  return [
    ...http.map((at) => tcp("pictures", at)),
    ...dns.addresses.flatMap((at): Listen[] => [tcp("names", at), { ...tcp("names", at), transport: "udp" }]),
    ...(peer === undefined ? [] : [tcp("peers", peer)]),
    tcp("admin", admin),
  ];
}

/** @throws CommandFailure that says what is in the way and what to do about it */
async function mustBeFree(wanted: readonly Listen[]): Promise<void> {
  const taken = await findTaken(wanted);
  if (taken.length === 0) return;
  const codes = new Set(taken.map(({ code }) => code));
  throw new CommandFailure(exitCodes.failed, "nothing was registered:", {
    lines: [
      ...taken.map(takenLine),
      ...(codes.has("EADDRINUSE")
        ? ["The node may already be running; if not, `ss -lntup` shows which program uses the port."]
        : []),
      ...(codes.has("EACCES")
        ? [
            "Ports below 1024 require root or this capability:",
            `  sudo setcap cap_net_bind_service=+ep ${process.execPath}`,
            "For a trial, use other ports: --http-port 8080 --dns-port 5300 (resolvers only ask port 53)",
          ]
        : []),
      ...(codes.has("EADDRNOTAVAIL")
        ? ["Behind NAT, set --address to the public address and --listen to the local address."]
        : []),
    ],
  });
}

function oneAddress(text: string): string {
  if (isIP(text) !== 0) return text;
  throw new InvalidArgumentError("It must be an IPv4 or IPv6 address.");
}

function addresses(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), oneAddress(text)];
}

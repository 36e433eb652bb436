/** Two ends of the channel between nodes, over real sockets. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { RequestListener } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { TestContext } from "node:test";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { silentLog } from "#base/log.ts";
import { openPeerClient, type PeerClient, type PeerRequest } from "../../../node/peer/client.ts";
import { channelKeys, channelTls } from "../../../node/peer/keys.ts";
import { listenForPeers, type PeerListener } from "../../../node/peer/peer-listener.ts";
import type { Member } from "../../../node/peer/members.ts";
import { keptLog } from "../../support/kept-log.ts";

export type Secrets = readonly Uint8Array[];
export const [secretA, secretB, secretC] = [randomBytes(32), randomBytes(32), randomBytes(32)] as const;

export const echo: RequestListener = (asked, response) => {
  const chunks: Buffer[] = [];
  asked.on("data", (chunk: Buffer) => chunks.push(chunk));
  asked.on("end", () => {
    const { method, url, headers } = asked;
    const body = JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() });
    response.writeHead(200, { "content-length": Buffer.byteLength(body) }).end(body);
  });
};

interface Node {
  listener: PeerListener;
  member: Member;
  know: (...secrets: Secrets) => void;
  lines: ReturnType<typeof keptLog>["lines"];
}

export async function startNode(
  t: TestContext,
  secrets: Secrets,
  application: RequestListener = echo,
  options: Partial<Pick<Parameters<typeof listenForPeers>[0], "limits" | "waitsMs" | "clock">> = {},
): Promise<Node> {
  let known = secrets;
  const { log, lines } = keptLog();
  const listener = await listenForPeers({
    host: "127.0.0.1",
    port: 0,
    secrets: () => known,
    application,
    clock: systemClock,
    log,
    ...options,
  });
  t.after(() => listener.close(0));
  return {
    listener,
    member: memberAt(listener.port),
    know(...next) {
      known = next;
    },
    lines,
  };
}

export function memberAt(port: number, name = "fra2"): Member {
  return { name, node: name, site: "fra", host: "127.0.0.1", port };
}

export interface Asker {
  client: PeerClient;
  know: (...secrets: Secrets) => void;
  ask: (member: Member, parts?: Partial<PeerRequest>) => ReturnType<PeerClient["request"]>;
  /** The whole answer's body. */
  text: (member: Member, parts?: Partial<PeerRequest>) => Promise<string>;
}

export function startAsker(
  t: TestContext,
  secrets: Secrets,
  options: Partial<Parameters<typeof openPeerClient>[0]> = {},
): Asker {
  let known = secrets;
  const client = openPeerClient({
    self: "fra1",
    site: "fra",
    secrets: () => known,
    clock: systemClock,
    log: silentLog,
    connectTimeoutsMs: { withinSite: 10_000, betweenSites: 10_000 },
    ...options,
  });
  t.after(() => client.close());
  const ask: Asker["ask"] = (member, parts = {}) =>
    client.request(member, { method: "GET", path: "/", timeoutMs: 10_000, ...parts });
  return {
    client,
    know(...next) {
      known = next;
    },
    ask,
    text: async (member, parts) => await (await ask(member, parts)).body.text(),
  };
}

export const unreachable = (error: unknown): boolean =>
  error instanceof NearcastError && error.code === "PEER_UNREACHABLE";

/** A TCP server that does what it is told to with each connection. */
export async function startSocketServer(t: TestContext, accept: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    accept(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** A connection by hand that proves this secret. */
export async function openChannel(t: TestContext, port: number, secret: Uint8Array, options = {}): Promise<TLSSocket> {
  const [key] = channelKeys(() => [secret])();
  assert(key !== undefined);
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    ...channelTls,
    checkServerIdentity: () => undefined,
    pskCallback: () => key,
    ...options,
  });
  socket.on("error", () => undefined);
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket.resume();
}

/** Sends a request and resolves with what comes next. */
export async function exchange(socket: TLSSocket, request: string): Promise<string> {
  const came = once(socket, "data");
  socket.write(request);
  const [chunk] = (await came) as [Buffer];
  return chunk.toString("latin1");
}

/**
 * Requests to other nodes: HTTP/1.1 with keep-alive over mutually authenticated TLS (keys.ts), one pool per member.
 *
 *   request(member) ──shunned──▶ PEER_UNREACHABLE at once
 *        │        └──no place in time (member-places.ts)──▶ PEER_UNREACHABLE
 *        ▼
 *   pool of the member ──▶ a free connection, or a new one ──▶ answer: headers now, body as it arrives
 *        │                    └─ the peer does not know our secret yet (alert unknown_psk_identity): the previous one
 *        └─ failed: shunned (shunning.ts) if it has sent nothing meanwhile; its connections are abandoned
 *
 * When the fleet secret is rotated, each pool is replaced at its next request: running requests end on the old
 * connections, new ones prove the new secret, and nothing is lost. Sessions are never resumed, since that would carry
 * over a proof of the old secret.
 *
 * A member that falls silent is asked for a sign of life (sign-of-life.ts): before the head of an answer, and in bodies
 * whose reader can get the rest elsewhere. Without one, the request fails and the member is shunned.
 *
 * The other side may close an idle connection at the moment at which it is used again. Such a request is retried once,
 * as RFC 9112 §9.3.1 allows for idempotent methods, on another connection.
 */
import { connect as connectTls, createSecureContext, type TLSSocket } from "node:tls";
import { LRUCache } from "lru-cache";
import { type buildConnector, type Dispatcher, Pool } from "undici";
import { watchBody } from "#base/body-watch.ts";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import { before } from "#base/lifecycle.ts";
import type { Log } from "#base/log.ts";
import { type WatchedRequest, watchedRequests } from "#base/watched-requests.ts";
import { type ChannelKey, channelKeys, channelTls } from "./keys.ts";
import {
  connectionsMax,
  createMemberPlaces,
  enter,
  type MemberPlace,
  type MemberPlaces,
  NoPlace,
} from "./member-places.ts";
import type { Member } from "./members.ts";
import { createShunning, type Shunning } from "./shunning.ts";
import { hasSignOfLife, signMs } from "./sign-of-life.ts";

/** The share of requests that no client waits for. */
const ownNetwork = "";
/** The member name of the requester. */
const fromField = "nearcast-from";

/**
 * TCP and TLS together. Three round trips fit: 40 ms between two cities of a continent, 300 ms around the world. Within
 * a site the rest is for busy machines: shunning a live owner makes a node do that owner's work again.
 */
const connectTimeoutsMs = { withinSite: 1000, betweenSites: 2000 };
/** After this long without the head of an answer, and then as often, the member is asked for a sign of life. */
const headDoubtMs = 1500;
/** Members with open connections; beyond that, the least recently used one loses its connections. */
const membersMax = 512;
const headerBytesMax = 32 * 1024;
/** A body that makes no progress for this long is cut off; an event stream may be silent for longer (body-watch.ts). */
const bodyIdleMs = 10_000;
/** Less than the listener's, so that this side closes. */
const keepAliveMs = 30_000;
const knockTimeoutMs = 2000;
/** TCP keep-alive probes begin after this long without a packet: the minimum sign of life of a connection. */
const tcpKeepAliveMs = 15_000;

export interface PeerRequest {
  method: "GET" | "HEAD" | "POST";
  /** Path and query. */
  path: string;
  headers?: Readonly<Record<string, string>>;
  body?: Uint8Array | string;
  /** The deadline of the answer's header section. Bodies are cut when they stall. */
  timeoutMs: number;
  /** Of the client that it is for: connections are shared between these. Absent: it is this node's own. */
  network?: string;
  signal?: AbortSignal;
}

export interface PeerResponse extends Dispatcher.ResponseData {
  /** To be called by a reader that can get the rest elsewhere: the body fails soon if the member is frozen. */
  endIfFrozen: () => void;
}

export interface PeerClient {
  /**
   * The answer; the caller must read or drop its body.
   * @throws NearcastError PEER_UNREACHABLE, or the reason of the caller's signal
   */
  request: (member: Member, request: PeerRequest) => Promise<PeerResponse>;
  /**
   * Whether requests to the member are refused at the moment, after failures. After its wait, this checks whether it is
   * back.
   */
  isShunned: (member: Member) => boolean;
  counts: () => PeerClientCounts;
  /** Aborts running requests. */
  close: () => Promise<void>;
}

export interface PeerClientCounts {
  requests: number;
  failures: number;
  /** Requests refused without being tried: shunned members, or too many under way. */
  refused: number;
  /** Requests that were sent again because a kept connection was gone. */
  retried: number;
  /** Connections made, and handshakes that needed the previous secret. */
  connections: number;
  previousSecrets: number;
  /** Members shunned at the moment. */
  shunned: number;
}

/** What the client stores for a member. */
interface Line {
  readonly member: Member;
  readonly shunning: Shunning;
  pool: Pool;
  request: WatchedRequest;
  /** Identity of the secret that was current when the pool was made. */
  identity: string;
  readonly places: MemberPlaces;
  /** Whether it shows a sign of life; undefined: it is not being asked. */
  sign: Promise<boolean> | undefined;
}

/** Since the start. */
type Counts = Omit<PeerClientCounts, "shunned">;

/** The parts of the client that sending a request needs. */
interface Sender {
  readonly self: string;
  readonly counts: Counts;
  /** Makes later requests to the member use new connections. */
  readonly renew: (line: Line) => void;
  readonly keys: () => readonly ChannelKey[];
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * @param self this process's member name
 * @param site this node's site
 * @param secrets the fleet secrets, the current one first (fetch/secrets.ts)
 */
export function openPeerClient(options: {
  self: string;
  site: string;
  secrets: () => readonly Uint8Array[];
  clock: Clock;
  log: Log;
  connectTimeoutsMs?: Partial<typeof connectTimeoutsMs>;
}): PeerClient {
  const { self, site, clock, log } = options;
  const timeoutsMs = { ...connectTimeoutsMs, ...options.connectTimeoutsMs };
  const keys = channelKeys(options.secrets);
  const counts: Counts = { requests: 0, failures: 0, refused: 0, retried: 0, connections: 0, previousSecrets: 0 };
  const retired = new Set<Pool>();
  let isClosed = false;
  const sender: Sender = { self, counts, keys, renew, clock, log };
  const lines = new LRUCache<string, Line>({ max: membersMax, dispose: ({ pool }) => retire(pool) });

  /** Lets the pool finish its running requests, then closes it. */
  function retire(pool: Pool): void {
    retired.add(pool);
    const forget = (): void => {
      retired.delete(pool);
    };
    pool.close().then(forget, forget);
  }

  function openPool(member: Member): Pool {
    const timeoutMs = member.site === site ? timeoutsMs.withinSite : timeoutsMs.betweenSites;
    return new Pool(originOf(member), {
      connections: connectionsMax,
      pipelining: 1,
      connect: connectorTo(member, { keys, timeoutMs, counts, clock }),
      maxHeaderSize: headerBytesMax,
      headersTimeout: 0, // each request has its own deadline
      bodyTimeout: 0, // watchBody() knows which bodies may be silent
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: keepAliveMs,
    });
  }

  function lineTo(member: Member): Line {
    const name = lineName(member);
    const identity = keys()[0]?.identity ?? "";
    let line = lines.get(name);
    if (line === undefined) {
      const pool = openPool(member);
      const request = watchedRequests(pool);
      const shunning = createShunning(clock);
      line = { member, shunning, pool, request, identity, places: createMemberPlaces(clock), sign: undefined };
      lines.set(name, line);
    } else if (line.identity !== identity) {
      renew(line);
      line.identity = identity;
    }
    return line;
  }

  /** From here on, requests use new connections. */
  function renew(line: Line): void {
    if (isClosed) return;
    retire(line.pool);
    line.pool = openPool(line.member);
    line.request = watchedRequests(line.pool);
  }

  /** Whether the member is shunned; after its wait, this starts a check whether it is back. */
  function isAway(line: Line): boolean {
    if (!line.shunning.isShunned()) return false;
    if (!isClosed && line.shunning.mayKnock()) void knock(line.member);
    return true;
  }

  /** Asks a shunned member whether it is back; never throws. */
  async function knock(member: Member): Promise<void> {
    try {
      const answer = await send(sender, lineTo(member), { method: "OPTIONS", path: "/", timeoutMs: knockTimeoutMs });
      log.info({ member: member.name }, "peer answers again");
      await answer.body.dump({ limit: headerBytesMax });
    } catch (error) {
      log.debug({ member: member.name, reason: (error as Error).message }, "peer does not answer yet");
    }
  }

  function refuse(member: Member, why: string): NearcastError {
    counts.refused += 1;
    return new NearcastError("PEER_UNREACHABLE", `${member.name}: ${why}`);
  }

  return {
    async request(member, request) {
      if (isClosed) throw refuse(member, "this node is stopping");
      if (keys().length === 0) throw refuse(member, "no fleet secret is known yet");
      const line = lineTo(member);
      if (isAway(line)) throw refuse(member, "it failed recently and gets no requests for a moment");
      counts.requests += 1;
      try {
        return await send(sender, line, request);
      } catch (error) {
        counts.failures += 1;
        throw error;
      }
    },
    isShunned(member) {
      const line = lines.peek(lineName(member));
      return line !== undefined && isAway(line);
    },
    counts: () => ({ ...counts, shunned: [...lines.values()].filter(({ shunning }) => shunning.isShunned()).length }),
    async close() {
      isClosed = true;
      const pools = [...lines.values()].map(({ pool }) => pool).concat(...retired);
      await Promise.all(pools.map((pool) => pool.destroy()));
    },
  };
}

/** @throws NearcastError PEER_UNREACHABLE, or the reason of the caller's signal */
async function send(
  sender: Sender,
  line: Line,
  request: Omit<PeerRequest, "method"> & { method: PeerRequest["method"] | "OPTIONS" },
): Promise<PeerResponse> {
  const { method, path, headers, body, timeoutMs, network = ownNetwork, signal } = request;
  const { self, counts, clock } = sender;
  const { member } = line;
  const begunMs = clock.monotonicMs();
  const deadline = new AbortController();
  const cancel = clock.after(timeoutMs, () => {
    deadline.abort(new Error(`no answer within ${timeoutMs} ms`));
  });
  const endIfSilent = async (): Promise<void> => {
    if (!(await isAlive(sender, line))) deadline.abort(new Error(`no answer, and no sign of life within ${signMs} ms`));
  };
  const unask = clock.every(headDoubtMs, () => void endIfSilent());
  const abort = (): void => {
    deadline.abort(signal?.reason);
  };
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  let place: MemberPlace | undefined;
  const order = {
    method,
    path,
    headers: { ...headers, [fromField]: self },
    signal: deadline.signal,
    onInfo: fewInterimResponses(),
    ...(body === undefined ? {} : { body }),
  };
  const ask = async (): Promise<PeerResponse> => {
    const { watch, around } = watchBody({ clock, silenceMs: bodyIdleMs, pace: null }, () => undefined);
    const work = line.request(order, around);
    try {
      // undici ignores the signal of a request that still waits for a connection.
      const answer = await before(deadline.signal, work);
      const endIfFrozen = (): void => {
        watch.doubt(() => isAlive(sender, line));
      };
      return { ...answer, endIfFrozen };
    } catch (error) {
      if (deadline.signal.aborted) work.then(dropBody, () => undefined);
      throw error;
    }
  };
  try {
    place = await enter(line.places, network, deadline.signal);
    let answer: PeerResponse;
    try {
      answer = await ask();
    } catch (error) {
      if (deadline.signal.aborted || !isLostConnection(error) || method === "POST") throw error;
      counts.retried += 1;
      answer = await ask();
    }
    line.shunning.answered();
    answer.body.once("close", place.leave);
    return answer;
  } catch (error) {
    place?.leave();
    if (signal?.aborted) throw signal.reason as Error;
    const thrown: unknown = deadline.signal.aborted ? deadline.signal.reason : error;
    const reason = reasonOf(thrown);
    if (!(thrown instanceof NoPlace)) shun(sender, line, begunMs, reason);
    throw new NearcastError("PEER_UNREACHABLE", `${member.name}: ${reason}`, { cause: error });
  } finally {
    cancel();
    unask();
    signal?.removeEventListener("abort", abort);
  }
}

/** Asks the member for a sign of life; without one, it is shunned. Never rejects. */
async function isAlive(sender: Sender, line: Line): Promise<boolean> {
  const { self, keys, counts, clock } = sender;
  const { member } = line;
  const begunMs = clock.monotonicMs();
  // A connection that is not established in time is no sign, but one that is refused is.
  const connect = connectorTo(member, { keys, timeoutMs: 2 * signMs, counts, clock });
  line.sign ??= hasSignOfLife(originOf(member), connect, { [fromField]: self }, clock).then((lives) => {
    line.sign = undefined;
    if (!lives) shun(sender, line, begunMs, "it is silent, and shows no sign of life");
    return lives;
  });
  return await line.sign;
}

/** Something that began then failed: the member gets no more requests for a while, unless it has answered since. */
function shun({ renew, log }: Sender, line: Line, begunMs: number, reason: string): void {
  if (!line.shunning.failed(begunMs)) return;
  log.warn({ member: line.member.name, reason }, "peer can't be reached; other nodes are asked until it answers");
  // Old connections are as dead or silent as the member: the next knock must not use one of them.
  renew(line);
}

/** Proves the current secret; if the peer does not know that one yet, the previous one. */
function connectorTo(
  member: Member,
  {
    keys,
    timeoutMs,
    counts,
    clock,
  }: { keys: () => readonly ChannelKey[]; timeoutMs: number; counts: Counts; clock: Clock },
): buildConnector.connector {
  return (_, callback) => {
    const tryNext = (choice: readonly ChannelKey[], at: number): void => {
      const key = choice[at];
      if (key === undefined) {
        callback(new Error("no fleet secret is known yet"), null);
        return;
      }
      let isSettled = false;
      const socket = dial(member, key);
      const settle = (error: NodeJS.ErrnoException | null): void => {
        if (isSettled) return;
        isSettled = true;
        cancel();
        if (error === null) {
          counts.connections += 1;
          if (at > 0) counts.previousSecrets += 1;
          callback(null, socket);
          return;
        }
        socket.destroy();
        if (error.code === "ERR_SSL_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY" && at + 1 < choice.length) {
          tryNext(choice, at + 1);
        } else callback(error, null);
      };
      const cancel = clock.after(timeoutMs, () => {
        settle(new Error(`no connection within ${timeoutMs} ms`));
      });
      socket.once("secureConnect", () => {
        settle(null);
      });
      socket.on("error", settle);
      socket.once("close", () => {
        settle(new Error("the connection was closed during the handshake"));
      });
    };
    tryNext(keys(), 0);
  };
}

/** A member that moved to another address counts as another member. */
function lineName({ name, host, port }: Member): string {
  return `${name} ${host} ${port}`;
}

function originOf({ host, port }: Member): string {
  return host.includes(":") ? `https://[${host}]:${port}` : `https://${host}:${port}`;
}

/** Without certificates or sessions, so all connections share it: making one takes a quarter of a millisecond. */
const secureContext = createSecureContext(channelTls);

function dial({ host, port }: Member, { identity, psk }: ChannelKey): TLSSocket {
  const socket = connectTls({
    host,
    port,
    secureContext,
    // There is no certificate: whoever can finish the handshake knows the secret.
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ identity, psk }),
  });
  return socket.setNoDelay(true).setKeepAlive(true, tcpKeepAliveMs);
}

/** A connection that ended during a request: it may have been idle, and the other side about to close it. */
function isLostConnection(error: unknown): boolean {
  const code = (error as { code?: string }).code;
  return code === "UND_ERR_SOCKET" || code === "ECONNRESET" || code === "EPIPE";
}

function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string };
  return code === undefined ? (message ?? String(error)) : `${code}: ${message ?? ""}`;
}

/** Discards an answer that arrived too late. */
function dropBody({ body }: Dispatcher.ResponseData): void {
  body.on("error", () => undefined);
  body.destroy();
}

/**
 * The public side of an edge: host and URL → an order → serve/ → respond().
 *
 *   GET|HEAD anything            the picture or asset
 *   GET /.nearcast/health        what other nodes probe: 200 ready, 503 starting or draining
 *
 * Fastify's router sees none of the hostile URL: it is parsed in target.ts, and all requests go to one route.
 */
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { LRUCache } from "lru-cache";
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, type ErrorCode, NearcastError, problemOf } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { canonicalName, type Fleet, type Host } from "#fleet/document.ts";
import { probePath } from "#fleet/probe.ts";
import { parseName } from "#fleet/source-name.ts";
import { dropStream } from "../fetch/body.ts";
import type { AssetOrder, AssetServer } from "../serve/asset.ts";
import type { ImageOrder, ImageServer } from "../serve/image.ts";
import { type Delivery, errorStatusOf, type Outcome } from "../serve/outcome.ts";
import { parseVariant } from "../variant/grammar.ts";
import { negotiate } from "../variant/negotiate.ts";
import { respond, type Sent } from "./respond.ts";
import { hostOf, parseTarget } from "./target.ts";

/** How this node presents itself to probes. */
export type Presence = "starting" | "ready" | "draining";

export interface ServedRequest {
  kind: Host["kind"] | "none";
  outcome: Outcome["word"] | "error";
  status: number;
  durationMs: number;
  bodyBytes: number;
}

export interface EdgeAppParts {
  node: string;
  site: string;
  images: ImageServer;
  assets: AssetServer;
  fleet: () => { version: number; document: Fleet } | null;
  presence: () => Presence;
  /** A promise to await before anything cached is served, or null. */
  gate: () => Promise<void> | null;
  /** Called once per request, for the metrics. */
  served: (request: ServedRequest) => void;
  clock: Clock;
  log: Log;
}

/** What a request wants, once it is understood. */
export type Order = { kind: "images"; order: ImageOrder } | { kind: "assets"; order: AssetOrder };

/** Builds the application; the caller makes it listen (its handler is `app.routing`, once it is ready). */
export function buildEdgeApp(parts: EdgeAppParts): FastifyInstance {
  const { node, site, images, assets, fleet, presence, gate, served, clock, log } = parts;
  // Unique to this process and this request; random bytes for each would cost a hit a tenth of its time.
  const idPrefix = randomBytes(6).toString("hex");
  let requests = 0;
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    genReqId: () => `${idPrefix}-${(requests += 1)}`,
    rewriteUrl: (request) => (request.url === probePath ? probePath : "/"),
    return503OnClosing: false,
  });
  const startedMs = new WeakMap<FastifyRequest, number>();
  const kindOf = new WeakMap<FastifyRequest, Host["kind"]>();

  app.addHook("onRequest", (request, reply, done) => {
    startedMs.set(request, clock.monotonicMs());
    if (request.method === "GET" || request.method === "HEAD") {
      done();
      return;
    }
    reply.header("Allow", "GET, HEAD");
    done(new NearcastError("METHOD_NOT_ALLOWED", `${request.method} is not one of GET, HEAD`));
  });

  app.get(probePath, async (_request, reply) => {
    const state = presence();
    reply.code(state === "ready" ? 200 : 503).header("Cache-Control", "no-store");
    return { node, site, state, fleetVersion: fleet()?.version ?? null };
  });

  const understandOften = rememberImageOrders();

  app.route({
    method: ["GET", "HEAD"],
    url: "/",
    handler(request, reply) {
      const current = fleet();
      if (current === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
      const understood = understandOften(current.document, request.raw, request.originalUrl);
      kindOf.set(request, understood.kind);
      const waiting = gate();
      // A fresh picture in memory is answered in this very turn.
      const ready = waiting === null && understood.kind === "images" ? images.serveNow(understood.order) : undefined;
      if (ready !== undefined) {
        send(request, reply, understood.kind, ready);
        return;
      }
      void serveLater(request, reply, understood, waiting);
    },
  });

  async function serveLater(
    request: FastifyRequest,
    reply: FastifyReply,
    understood: Order,
    waiting: Promise<void> | null,
  ): Promise<void> {
    try {
      if (waiting !== null) await waiting;
      const delivery =
        understood.kind === "images" ? await images.serve(understood.order) : await assets.serve(understood.order);
      send(request, reply, understood.kind, delivery);
    } catch (error) {
      reply.send(error);
    }
  }

  function send(request: FastifyRequest, reply: FastifyReply, kind: Host["kind"], delivery: Delivery): void {
    reply.hijack();
    // Who keeps a connection is told to open the next one elsewhere.
    if (presence() === "draining") reply.raw.shouldKeepAlive = false;
    const startMs = startedMs.get(request) ?? 0;
    const nowMs = clock.monotonicMs();
    let sent: Sent;
    try {
      sent = respond(request.raw, reply.raw, delivery, { node, startedMs: startMs, nowMs, log });
    } catch (error) {
      // Such as a field of the origin that can't be sent on. The answer may have begun, so all that is left is to cut.
      log.error({ err: error }, "an answer can't be sent");
      reply.raw.destroy();
      if (!Buffer.isBuffer(delivery.body)) dropStream(delivery.body);
      return;
    }
    served({ kind, outcome: delivery.outcome.word, durationMs: clock.monotonicMs() - startMs, ...sent });
  }

  app.setNotFoundHandler(async () => {
    throw new NearcastError("NOT_FOUND", "there is nothing here");
  });
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = thrown instanceof NearcastError ? thrown : fromFramework(thrown);
    const problem = problemOf(error, request.id);
    if (error.status >= 500) {
      const facts = { code: error.code, requestId: request.id, reason: error.message };
      if (error.code === "INTERNAL") log.error({ err: error.cause ?? error, ...facts }, "a request failed");
      else log.warn(facts, "a request failed");
    }
    const durationMs = clock.monotonicMs() - (startedMs.get(request) ?? clock.monotonicMs());
    served({ kind: kindOf.get(request) ?? "none", outcome: "error", status: error.status, durationMs, bodyBytes: 0 });
    if (kindOf.has(request)) reply.header("Cache-Status", errorStatusOf(node, error.code));
    if (error.status === 503) reply.header("Retry-After", "1");
    return reply
      .code(error.status)
      .header("Cache-Control", "no-store")
      .header("X-Content-Type-Options", "nosniff")
      .type("application/problem+json")
      .send(problem);
  });
  return app;
}

/** Orders for pictures that are remembered, and what is short enough to be: some 2 KB each at the most. */
const ordersMax = 10_000;
const rememberedTargetMax = 1024;
const rememberedAcceptMax = 256;

/**
 * understand() for requests that come again and again: an order for a picture depends on document, host, target and
 * Accept alone, and is frozen, so that what is derived from it can be remembered too.
 */
function rememberImageOrders(): (document: Fleet, request: IncomingMessage, target: string) => Order {
  const orders = new LRUCache<string, Order>({ max: ordersMax });
  let ofDocument: Fleet | undefined;
  return (document, request, target) => {
    const { headers, rawHeaders } = request;
    let hosts = 0;
    for (let index = 0; index < rawHeaders.length; index += 2) {
      const name = rawHeaders[index] ?? "";
      if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
    }
    // Node keeps the first of several; others in front of us may have kept the last (RFC 9112 §3.2).
    if (hosts > 1) throw new NearcastError("BAD_REQUEST", "the request has several Host fields");
    const accept = headers.accept ?? "";
    const isShort = target.length <= rememberedTargetMax && accept.length <= rememberedAcceptMax;
    // A line feed is in none of the three.
    const key = isShort ? `${headers.host ?? ""}\n${accept}\n${target}` : "";
    if (document !== ofDocument) {
      orders.clear();
      ofDocument = document;
    }
    const known = isShort ? orders.get(key) : undefined;
    if (known !== undefined) return known;
    const method = request.method === "HEAD" ? "HEAD" : "GET";
    const understood = understand(document, { method, target, fields: headers });
    if (isShort && understood.kind === "images") orders.set(key, understood);
    return understood;
  };
}

/** A request's method, target and fields as an order for one of the servers; pure. @throws NearcastError 4xx */
export function understand(
  document: Fleet,
  request: { method: "GET" | "HEAD"; target: string; fields: AssetOrder["fields"] },
): Order {
  const target = parseTarget(request.target);
  if (target.outcome === "rejected") throw new NearcastError(target.code, target.reason);
  const host = pickHost(document, target.authority ?? single(request.fields["host"]));
  if (host.kind === "assets") {
    const query = target.query === "" ? "" : `?${target.query}`;
    return {
      kind: "assets",
      order: { host, method: request.method, target: target.path + query, fields: request.fields },
    };
  }
  const name = parseSourceName(host.sourcePrefix, target.path);
  const parsed = parseVariant(target.query, document.presets);
  if (parsed.outcome === "rejected") {
    const { parameter, value, allowed } = parsed;
    throw new NearcastError("BAD_PARAMETER", `${parameter}=${value}: must be ${allowed}`, {
      facts: { parameter, value, allowed },
    });
  }
  const { variant, varies } = negotiate(parsed, single(request.fields["accept"]));
  return { kind: "images", order: { host, name, variant, varies } };
}

function parseSourceName(prefix: string, path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path.slice(1));
  } catch {
    throw new NearcastError("BAD_PATH", "the path is not percent-encoded UTF-8");
  }
  if (/%2f/i.test(path)) throw new NearcastError("BAD_PATH", "the path has an encoded slash");
  const parsed = parseName(prefix + decoded);
  if (!parsed.ok) throw new NearcastError("BAD_PATH", parsed.reason);
  return parsed.name;
}

/** The host that a request names; a bare address means the first `images` host, so that one `curl` works at once. */
function pickHost(document: Fleet, authority: string | undefined): Host {
  const name = hostOf(authority);
  if (name === null) throw new NearcastError("BAD_REQUEST", "the Host field is missing or malformed");
  const found = hostsOf(document).get(name);
  if (found !== undefined) return found;
  const isBare = name === "localhost" || isIP(name.replace(/^\[|\]$/g, "")) !== 0;
  const first = isBare ? (document.hosts.find((host) => host.kind === "images") ?? document.hosts[0]) : undefined;
  if (first === undefined) throw new NearcastError("UNKNOWN_HOST", `"${name.slice(0, 253)}" is not one of the hosts`);
  return first;
}

/** Hosts by name, read once per document: documents never change. */
const hostsByDocument = new WeakMap<Fleet, ReadonlyMap<string, Host>>();

function hostsOf(document: Fleet): ReadonlyMap<string, Host> {
  let hosts = hostsByDocument.get(document);
  if (hosts === undefined) {
    hosts = new Map(document.hosts.map((host) => [canonicalName(host.name), host]));
    hostsByDocument.set(document, hosts);
  }
  return hosts;
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

function fromFramework(thrown: FastifyError): NearcastError {
  const code: ErrorCode | undefined =
    thrown.statusCode === 413 ? "BODY_TOO_LARGE" : (thrown.statusCode ?? 500) < 500 ? "BAD_REQUEST" : undefined;
  return code === undefined ? asNearcastError(thrown) : new NearcastError(code, thrown.message, { cause: thrown });
}

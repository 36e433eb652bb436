/**
 * The application for clients: host and URL → an order → serve/ → deliver/.
 *
 *   GET|HEAD anything            the picture or asset, or a redirect to HTTPS
 *   GET|HEAD /.nearcast/health   what other nodes probe: 200 ready, 503 starting or draining; if the request proves
 *                                knowledge of the fleet secret, with this node's health answer and a proof
 *                                (node/health/health-proof.ts)
 *
 * Fastify's router never sees a client's URL: understand.ts reads it, and all requests go to one route.
 */
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomBytes } from "node:crypto";
import { splitAbsolute } from "#base/absolute-form.ts";
import type { Clock } from "#base/clock.ts";
import { clientNetworkOf } from "#base/client-network.ts";
import { asNearcastError, type ErrorCode, NearcastError, problemOf } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import { inertFields } from "#base/inert-fields.ts";
import type { Log } from "#base/log.ts";
import { whyRefused } from "#base/refused-request.ts";
import type { Fleet } from "#document/document.ts";
import type { Host } from "#document/schema/hosts.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import type { HealthAnswer } from "#health/health.ts";
import { probePath } from "#health/prober.ts";
import { askField, createProofs, proofField } from "#health/health-proof.ts";
import { dropUnread } from "#base/body.ts";
import { isEncrypted } from "../front/relay.ts";
import { deliver, type Sent } from "../deliver/deliver.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import { type Delivery, errorStatusOf, type Outcome } from "../deliver/outcome.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import type { RequestContext } from "../serve/request-context.ts";
import { ClientGone, contextOf } from "./context.ts";
import { http1Sink } from "./http1-sink.ts";
import { hstsOf, overTls, type Redirect, redirectOf } from "./https-policy.ts";
import { askedOf, type Order, rememberOrders } from "./understand.ts";

/** Browsers remember a redirect without a lifetime for as long as they like. */
const redirectLifetime = "max-age=3600";

/** How this node presents itself to probes. */
export type Presence = "starting" | "ready" | "draining";

export interface ServedRequest {
  /** A host of the fleet document; null: the request named none of them. */
  host: string | null;
  kind: Host["kind"] | "none";
  /** `gone`: the client left before its response began. */
  outcome: Outcome["word"] | "error" | "redirect" | "gone";
  status: number;
  /** Time from the arrival of the request until the head of the response was handed to the system, or it had left. */
  durationMs: number;
  /** Bytes of the body that were sent, although the client may have left before the end. */
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
  /** The port in redirects to HTTPS. */
  publicPort: number;
  /** The limit on memory for slow clients, and the minimum rate of a client. */
  transfers: TransferRules;
  /** Called once per request, at its end, for the metrics. */
  served: (request: ServedRequest) => void;
  /** Counts what is served, but not requests of probers. */
  load: LoadMeter;
  /** This node's health answer to nodes of its fleet. */
  answer: () => HealthAnswer;
  /** The fleet secrets, the current one first: whoever knows one of them belongs to the fleet. */
  secrets: () => readonly Uint8Array[];
  clock: Clock;
  log: Log;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Monotonic time of its arrival; 0: it was refused before that. */
    startedMs: number;
    /** The host that the request names, once that is known. */
    servedHost: Host | undefined;
    /** What was to be sent; undefined: no response was available. */
    outcome: Outcome | undefined;
  }
}

/** The state that the functions of an application share. */
interface State extends EdgeAppParts {
  failures: FailureLog;
}

/** Builds the application; the caller makes it listen (its handler is `app.routing`, once it is ready). */
export function buildEdgeApp(parts: EdgeAppParts): FastifyInstance {
  const state: State = { ...parts, failures: openFailureLog(parts.log, parts.clock) };
  // Unique to this process and this request. Random bytes for each request would add a tenth to the time of a hit.
  const idPrefix = randomBytes(6).toString("hex");
  let requests = 0;
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    genReqId: () => `${idPrefix}-${(requests += 1)}`,
    rewriteUrl: ({ url = "" }) => (splitAbsolute(url).rest === probePath ? probePath : "/"),
    return503OnClosing: false,
  });
  checkArrivals(app, state);
  answerProbes(app, state);
  serveContent(app, state);
  answerErrors(app, state);
  return app;
}

/** Notes the time of arrival. Refuses malformed requests, and all methods except GET and HEAD. */
function checkArrivals(app: FastifyInstance, { clock }: State): void {
  // In fields of the request: a WeakMap with an entry per request slows down every garbage collection.
  app.decorateRequest("startedMs", 0);
  app.decorateRequest("servedHost", undefined);
  app.decorateRequest("outcome", undefined);
  app.addHook("onRequest", (request, reply, done) => {
    request.startedMs = clock.monotonicMs();
    const refusal = whyRefused(request.raw);
    if (refusal !== undefined) {
      done(refusal);
      return;
    }
    if (request.method === "GET" || request.method === "HEAD") {
      done();
      return;
    }
    reply.header("Allow", "GET, HEAD");
    done(new NearcastError("METHOD_NOT_ALLOWED", `the method must be GET or HEAD (got ${request.method})`));
  });
}

/** Registers the path that other nodes probe. */
function answerProbes(app: FastifyInstance, state: State): void {
  const { node, site, fleet, answer } = state;
  const proofs = createProofs(state.secrets);
  const answerProbe = (request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const presence = state.presence();
    const status = presence === "ready" ? 200 : 503;
    const said = { node, site, state: presence, fleetVersion: fleet()?.version ?? null };
    reply.code(status).header("Cache-Control", "no-store").headers(inertFields).type("application/json; charset=utf-8");
    const sign = proofs.signerFor(request.headers[askField]);
    if (sign === undefined) return reply.send(JSON.stringify(said));
    const body = JSON.stringify({ ...said, word: answer() });
    return reply.header(proofField, sign(status, body)).send(body);
  };
  app.route({ method: ["GET", "HEAD"], url: probePath, handler: answerProbe });
}

/** Registers the one route of all pictures and assets. */
function serveContent(app: FastifyInstance, state: State): void {
  const { fleet, gate, publicPort, clock } = state;
  const understandOften = rememberOrders();
  app.route({
    method: ["GET", "HEAD"],
    url: "/",
    handler(request, reply) {
      const current = fleet();
      if (current === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
      const asked = askedOf(request.raw, request.originalUrl);
      const redirect = isSecure(request) ? undefined : redirectOf(current.document, asked, publicPort);
      if (redirect !== undefined) {
        sendRedirect(state, redirect, request, reply);
        return;
      }
      const order = understandOften(current.document, asked);
      const { host } = order.order;
      request.servedHost = host;
      const waiting = gate();
      const context = contextOf(request.raw, reply.raw, request.id, clock);
      // A fresh response in memory, or in the page cache, is sent in the same turn.
      const delivery =
        waiting === null ? serve(state, order, context) : waiting.then(() => serve(state, order, context));
      const sending =
        delivery instanceof Promise
          ? delivery.then((later) => send(state, { request, reply, host }, later))
          : send(state, { request, reply, host }, delivery);
      if (!(sending instanceof Promise)) return;
      sending.catch((error: unknown) => {
        if (context.signal.aborted) clientLeft(state, { request, reply, host });
        else reply.send(error);
      });
    },
  });
}

function serve({ images, assets }: State, wanted: Order, context: RequestContext): Delivery | Promise<Delivery> {
  if (wanted.kind === "assets") return assets.serve(wanted.order, context);
  return images.serveNow(wanted.order, context.isWhole) ?? images.serve(wanted.order, context);
}

/** A request for content, and where its response goes. */
interface Exchange {
  request: FastifyRequest;
  reply: FastifyReply;
  host: Host;
}

/** Returns at once if the system took the whole response. @throws NearcastError; nothing was sent then */
function send(state: State, { request, reply, host }: Exchange, decided: Delivery): void | Promise<void> {
  const { node, presence, served, load, transfers, clock, log } = state;
  const delivery = isSecure(request) ? overTls(decided, host) : decided;
  // Clients that keep their connection are told to open the next one elsewhere.
  if (presence() === "draining") reply.raw.shouldKeepAlive = false;
  request.outcome = delivery.outcome;
  const { startedMs } = request;
  const nowMs = clock.monotonicMs();
  const about = { host: host.name, kind: host.kind, outcome: delivery.outcome.word, durationMs: nowMs - startedMs };
  const report = ({ status, bodyBytes, end, error }: Sent): void => {
    load.count(nowMs, bodyBytes);
    served({ ...about, status, bodyBytes });
    if (end === "complete") return;
    const facts = { requestId: request.id, host: host.name, end, bodyBytes, reason: error?.message };
    log.debug(facts, "a response ended early");
  };
  const share = (): string => clientNetworkOf(request.raw.socket.remoteAddress);
  // For example, a field of the origin that can't be forwarded. Nothing was sent (deliver.ts).
  const unsendable = (thrown: unknown): never => {
    dropUnread(delivery.body);
    throw asNearcastError(thrown);
  };
  let sent: Sent | Promise<Sent>;
  try {
    const context = { node, startedMs, nowMs, rules: transfers, share };
    sent = deliver(request.raw, delivery, http1Sink(reply.raw), context);
  } catch (error) {
    return unsendable(error);
  }
  if (sent instanceof Promise) return sent.then(report, unsendable);
  report(sent);
  reply.hijack();
}

/** The status that nginx logs for such a request; nobody receives it. */
const clientClosedRequest = 499;

/** Nothing was sent, and there is nobody to send it to. */
function clientLeft({ served, load, clock }: State, { request, reply, host }: Exchange): void {
  const nowMs = clock.monotonicMs();
  const about = { host: host.name, kind: host.kind, outcome: "gone", status: clientClosedRequest } as const;
  load.count(nowMs);
  served({ ...about, durationMs: nowMs - request.startedMs, bodyBytes: 0 });
  reply.raw.destroy();
}

function isSecure({ raw }: FastifyRequest): boolean {
  return isEncrypted(raw.socket);
}

/** Sends a client to HTTPS. */
function sendRedirect(
  { served, load, clock }: State,
  { host, location }: Redirect,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const nowMs = clock.monotonicMs();
  load.count(nowMs);
  const { name, kind } = host;
  served({ host: name, kind, outcome: "redirect", status: 301, durationMs: nowMs - request.startedMs, bodyBytes: 0 });
  reply.code(301).header("Location", location).header("Cache-Control", redirectLifetime).send();
}

/** Answers failed requests: problem details (RFC 9457) for clients, a log line for failures of this side. */
function answerErrors(app: FastifyInstance, state: State): void {
  const { node, served, load, clock } = state;
  app.setNotFoundHandler(async () => {
    throw new NearcastError("NOT_FOUND", "this path is not served");
  });
  app.setErrorHandler((thrown: FastifyError, request, reply) => {
    const error = thrown instanceof NearcastError ? thrown : fromFramework(thrown);
    const problem = problemOf(error, request.id);
    if (error.status >= 500 && !isOfProtocol(error)) logFailure(state, error, request.id);
    const nowMs = clock.monotonicMs();
    const durationMs = request.startedMs === 0 ? 0 : nowMs - request.startedMs;
    load.count(nowMs);
    const host = request.servedHost;
    const about = { host: host?.name ?? null, kind: host?.kind ?? "none", outcome: "error" } as const;
    served({ ...about, status: error.status, durationMs, bodyBytes: 0 });
    if (host !== undefined) reply.header("Cache-Status", errorStatusOf(node, error, request.outcome));
    const hsts = host === undefined || !isSecure(request) ? undefined : hstsOf(host);
    if (hsts !== undefined) reply.header("Strict-Transport-Security", hsts);
    if (error.status === 503) reply.header("Retry-After", retryAfterOf(error));
    return reply
      .code(error.status)
      .header("Cache-Control", "no-store")
      .headers(inertFields)
      .type("application/problem+json")
      .send(problem);
  });
}

function logFailure({ failures, log }: State, error: NearcastError, requestId: string): void {
  const facts = { requestId, reason: error.message };
  if (error.cause instanceof ClientGone) log.debug(facts, "a client left before its response");
  else if (error.code === "INTERNAL") {
    failures.error(error.code, { err: error.cause ?? error, ...facts }, "a request failed");
  } else failures.warn(error.code, facts, "a request failed");
}

/** A client that speaks another protocol is no failure of this node or its origins. */
function isOfProtocol({ code }: NearcastError): boolean {
  return code === "NOT_IMPLEMENTED" || code === "VERSION_NOT_SUPPORTED";
}

/** In s: one second, unless the failure says when another attempt makes sense. */
function retryAfterOf({ facts }: NearcastError): string {
  const { retryAfterSeconds } = facts;
  return typeof retryAfterSeconds === "number" ? String(retryAfterSeconds) : "1";
}

function fromFramework(thrown: FastifyError): NearcastError {
  const code: ErrorCode | undefined =
    thrown.statusCode === 413 ? "BODY_TOO_LARGE" : (thrown.statusCode ?? 500) < 500 ? "BAD_REQUEST" : undefined;
  return code === undefined ? asNearcastError(thrown) : new NearcastError(code, thrown.message, { cause: thrown });
}

/**
 * Builds the origin's HTTP application: hooks and routes in order, and every limit of the server. Listening is separate
 * (start.ts).
 *
 *   head too large, no HTTP ─▶ answerBrokenInput        target too long ─▶ 414
 *   server (connections) ─▶ router ─▶ access (token) ─▶ route's own onRequest ─▶ body ─▶ schema ─▶ handler ─▶ answer |
 *   problem
 */
import { randomUUID } from "node:crypto";
import type { RequestListener, Server } from "node:http";
import swagger from "@fastify/swagger";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import Fastify from "fastify";
import { splitAbsolute } from "#base/absolute-form.ts";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import { boundJsonBodies } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import { whyRefused } from "#base/refused-request.ts";
import type { OriginConfig } from "./config.ts";
import type { FleetReader } from "./fleet/stored-fleets.ts";
import type { JudgeFleet } from "./fleet/judge-in-thread.ts";
import type { FleetSecretKeeper } from "./fleet/fleet-secret-file.ts";
import { guardRoutes } from "./http/access.ts";
import type { App } from "./http/app-type.ts";
import { answerBrokenInput } from "./http/broken-input.ts";
import { watchBodies } from "./http/request-body.ts";
import { describeRoute, openApiHead } from "./http/openapi.ts";
import { answerProblems, answerRouterError } from "./http/problems.ts";
import { createOriginServer } from "./http/server.ts";
import { compileValidator, describeProblems } from "./http/validation.ts";
import { openMetrics, type OriginMetrics } from "./origin-metrics.ts";
import { addAuditRoute } from "./routes/audit.ts";
import { addChannelRoutes, type ChannelRouteDeps } from "./routes/channel.ts";
import { addConnectedNodeRoutes } from "./routes/connected-nodes.ts";
import { addFeedRoute } from "./routes/feed.ts";
import { addFleetRoutes } from "./routes/fleet.ts";
import { addImageRoutes, type ImageRouteDeps } from "./routes/images.ts";
import { addImageVersionRoutes } from "./routes/image-versions.ts";
import { addPurgeRoutes } from "./routes/purges.ts";
import { addNodeRoutes } from "./routes/nodes.ts";
import { addSecretRoutes } from "./routes/secret.ts";
import { addServiceRoutes } from "./routes/service.ts";
import { addVerifyRoute } from "./routes/verifications.ts";
import { openVerifier } from "./store/verify-blobs.ts";
import { addTokenRoutes } from "./routes/tokens.ts";
import type { Refusals } from "./refused-tokens.ts";
import type { RosterKeeper } from "./roster/roster-changes.ts";
import type { Tokens } from "./token/tokens.ts";

/** The maximum size of a request target: a name of 500 bytes with every byte encoded, and a query. */
const targetBytesMax = 8192;
/**
 * Node's limit includes the target; a target that is too long must be distinguishable from a header section too large.
 */
const headBytesMax = 96 * 1024;
/** Host and port (RFC 9110 §7.2), without user information. Every name is one of this server's names. */
const hostForm = /^(?:(?:\[[0-9a-fA-F:.]+\]|[^:[\]/?#@\s,]+)(?::\d{0,5})?)?$/;
/** Of JSON bodies: a purge of 1000 names of typical length. */
const jsonBytesMax = 256 * 1024;

export interface AppDeps extends ImageRouteDeps, ChannelRouteDeps {
  readonly config: OriginConfig;
  readonly tokens: Tokens;
  readonly refusals: Refusals;
  readonly fleetSecret: FleetSecretKeeper;
  readonly roster: RosterKeeper;
  readonly fleetReader: FleetReader;
  readonly judgeFleet: JudgeFleet;
  readonly clock: Clock;
  readonly log: Log;
}

function openServer(
  handler: RequestListener,
  { config, tokens, clock }: AppDeps,
  onStrangerClosed: OriginMetrics["countUnauthenticatedClosed"],
): Server {
  const { limits } = config;
  const server = createOriginServer(
    handler,
    {
      maxHeaderSize: headBytesMax,
      headersTimeout: 15_000,
      connectionsCheckingInterval: 5000,
      // Edges keep their connections for 30 s; the client should be the side that closes.
      keepAliveTimeout: 65_000,
      // Node includes the body, so this must be longer than the longest upload, which has its own, earlier deadline.
      requestTimeout: limits.uploadTimeoutMs + 60_000,
    },
    { tokens, limits, clock, onStrangerClosed },
  );
  // Silence in both directions. The longest legitimate one is an upload that waits for its decoding
  // (upload/store-upload.ts).
  server.setTimeout(3 * limits.inspectionTimeoutMs + 30_000);
  return server;
}

export async function buildApp(deps: AppDeps): Promise<{ app: App; countSwept: (blobs: number) => void }> {
  const { config, clock, log } = deps;
  const logs = { failures: openFailureLog(log, clock), log };
  const metrics = openMetrics({
    dataDir: config.dataDir,
    clock,
    uploads: deps.uploads.counts,
    feed: deps.feed.counts,
    refusals: deps.refusals,
  });
  const app = Fastify({
    logger: false,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    trustProxy: config.listen.trustedProxies.length === 0 ? false : [...config.listen.trustedProxies],
    bodyLimit: jsonBytesMax,
    serverFactory: (handler) => openServer(handler, deps, metrics.countUnauthenticatedClosed),
    forceCloseConnections: "idle",
    return503OnClosing: false, // The hook below answers in the same form as all other refusals.
    routerOptions: { maxParamLength: targetBytesMax },
    frameworkErrors: answerRouterError(logs),
    clientErrorHandler: answerBrokenInput,
    rewriteUrl: ({ url = "" }) => splitAbsolute(url).rest,
    schemaErrorFormatter: describeProblems,
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.setValidatorCompiler(compileValidator);
  boundJsonBodies(app);

  app.addHook("onRequest", metrics.requestHooks.onRequest);
  app.addHook("onResponse", metrics.requestHooks.onResponse);
  app.addHook("onRequest", async ({ raw, originalUrl }) => {
    const refusal = whyRefused(raw);
    if (refusal !== undefined) throw refusal;
    const { authority } = splitAbsolute(originalUrl);
    if (!hostForm.test(authority ?? raw.headers.host ?? "") || authority === "")
      throw new NearcastError("BAD_REQUEST", "the request needs a valid host");
    if (raw.url?.startsWith("/") !== true)
      throw new NearcastError("BAD_REQUEST", "the request target must begin with a slash");
  });
  let isClosing = false;
  app.addHook("preClose", async () => {
    isClosing = true;
  });
  app.addHook("onRequest", async (request, reply) => {
    if (isClosing) {
      void reply.header("connection", "close");
      throw new NearcastError("NOT_READY", "the origin is stopping");
    }
    void reply.header("x-request-id", request.id).header("x-content-type-options", "nosniff");
    if ((request.raw.url ?? "").length > targetBytesMax) {
      throw new NearcastError("URI_TOO_LONG", `the request target must not be longer than ${targetBytesMax} bytes`);
    }
  });
  answerProblems(app, logs);
  guardRoutes(app, deps.tokens, deps.refusals);
  watchBodies(app, clock);

  await app.register(swagger, { openapi: openApiHead, transform: describeRoute });
  addServiceRoutes(app, metrics);
  addImageRoutes(app, deps);
  addImageVersionRoutes(app, deps);
  addPurgeRoutes(app, deps);
  const bytesPerSecond = config.limits.verifyBytesPerSecond;
  addVerifyRoute(app, { ...deps, verifier: openVerifier({ ...deps, bytesPerSecond }) });
  addFleetRoutes(app, deps);
  addSecretRoutes(app, deps);
  addNodeRoutes(app, deps);
  addConnectedNodeRoutes(app, deps);
  addChannelRoutes(app, deps, logs.failures);
  addFeedRoute(app, deps);
  addTokenRoutes(app, deps.tokens);
  addAuditRoute(app, deps.catalogue);
  await app.ready();
  return { app, countSwept: metrics.countSwept };
}

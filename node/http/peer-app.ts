/**
 * The application for other nodes (serve/wire.ts has the fields); the listener is peer/peer-listener.ts.
 *
 *   GET  /v1/image    a variant, as the owner of its name or because the asking site is full
 *   GET  /v1/source   what a name stands for, and its bytes, as the shield
 *   GET  /v1/asset    a response of an assets host, in any of these roles; with Range and If-Range, the rest of one
 *   POST /v1/hot      hot variants of another node
 *
 * Every caller knows the fleet secret. Its requests are nevertheless validated as strictly as those of strangers,
 * because another node may run another release, or be faulty.
 */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomBytes } from "node:crypto";
import { finished } from "node:stream/promises";
import { Type } from "typebox";
import { splitAbsolute } from "#base/absolute-form.ts";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError, problemOf } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import { boundJsonBodies } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import { whyRefused } from "#base/refused-request.ts";
import type { FeedPosition } from "#follow/feed.ts";
import type { Fleet } from "#document/document.ts";
import { writePictureFields } from "#base/picture-facts.ts";
import { headerPairsOf } from "../cache/object.ts";
import type { SourceRecord } from "../cache/records.ts";
import { type Body, dropUnread } from "#base/body.ts";
import { type Head, type Part, send, wholeBody } from "../deliver/deliver.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import { ClientGone } from "./context.ts";
import { http1Sink } from "./http1-sink.ts";
import {
  contextFor,
  documentOf,
  hostOfKind,
  knownOf,
  readKnownVariant,
  readSource,
  readVariant,
  roleOf,
  targetOf,
} from "./peer-request.ts";
import type { AssetDelivery } from "../serve/asset-delivery.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import { cacheStatusOf, type Outcome } from "../deliver/outcome.ts";
import type { Peers } from "../serve/peers.ts";
import { hotKeysMax, type Replication } from "../serve/replication.ts";
import { primaryKeyOf } from "../serve/asset-key.ts";
import { fieldNames, ownPrefix, readLog, type Refusal, roles, writeTold } from "../serve/wire.ts";
import { judgeConditions } from "../deliver/conditions.ts";
import { fieldOf } from "../fetch/asset.ts";

export interface PeerAppParts {
  /** The name of this process, as its peers know it; for Cache-Status. */
  node: string;
  images: Pick<ImageServer, "serveToPeer" | "sourceToPeer">;
  assets: Pick<AssetServer, "serveToPeer">;
  peers: Peers;
  replication: Pick<Replication, "take">;
  /** Null while no fleet document is known. */
  fleet: () => Fleet | null;
  /** The limit on memory for slow peers. */
  transfers: TransferRules;
  clock: Clock;
  log: Log;
}

const readMethods = ["GET", "HEAD"];
const strict = { additionalProperties: false } as const;
/** A name has at most 500 bytes, each of which may be written as three. */
const hotBytesMax = hotKeysMax * 2500;
/** Sources being sent to other sites. Beyond this, new questions are refused until some have arrived. */
const sourceBytesMost = 512 * 1024 * 1024;

/**
 * The share of the budget for bytes in flight: all peers together. The clients that they ask for bound their requests.
 */
const peersShare = "peers";

const hostText = Type.String({ minLength: 1, maxLength: 253 });
const nameText = Type.String({ minLength: 1, maxLength: 1000 });
const variantText = Type.String({ minLength: 1, maxLength: 200 });
const namedVariant = Type.Object({ host: hostText, name: nameText, variant: variantText }, strict);
const namedSource = Type.Object({ host: hostText, name: nameText }, strict);
const namedHost = Type.Object({ host: hostText }, strict);
const hotList = Type.Object({ variants: Type.Array(namedVariant, { maxItems: hotKeysMax }) }, strict);

/** The state that the functions of an application share. */
interface State extends PeerAppParts {
  failures: FailureLog;
  /** Bytes being sent to other sites. */
  sourceBytes: number;
}

type App = ReturnType<typeof typed>;

/** Builds the application; the caller makes it listen (its handler is `app.routing`, once it is ready). */
export function buildPeerApp(parts: PeerAppParts): FastifyInstance {
  const state: State = { ...parts, failures: openFailureLog(parts.log, parts.clock), sourceBytes: 0 };
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    genReqId: () => randomBytes(8).toString("hex"),
    return503OnClosing: false,
    rewriteUrl: ({ url = "" }) => splitAbsolute(url).rest,
    bodyLimit: hotBytesMax,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    frameworkErrors: (error, request, reply) => {
      answerError(state, error, request, reply);
    },
  });
  boundJsonBodies(app);
  app.addHook("onRequest", async ({ raw }) => {
    const refusal = whyRefused(raw);
    if (refusal !== undefined) throw refusal;
  });
  const routes = typed(app);
  serveImages(routes, state);
  serveSources(routes, state);
  serveAssets(routes, state);
  takeHotVariants(routes, state);
  answerErrors(app, state);
  return app;
}

function typed(app: FastifyInstance) {
  return app.withTypeProvider<TypeBoxTypeProvider>();
}

function serveImages(app: App, state: State): void {
  const { images, fleet, clock } = state;
  app.route({
    method: readMethods,
    url: "/v1/image",
    schema: { querystring: namedVariant },
    async handler(request, reply) {
      const role = roleOf(request, ["owner", "spill"]);
      const wanted = readVariant(documentOf(fleet), request.query);
      const known = knownOf(request);
      const context = contextFor(request, reply, clock);
      const began = await begin(state, request);
      const { record, object, outcome, status } = await images.serveToPeer(wanted, role, context);
      const feedSeq = Math.min(record.feedSeq, object?.facts.feedSeq ?? record.feedSeq);
      const told = tell(state, began, { ageMs: ageOf(record, clock), mark: record.mark, feedSeq, outcome, status });
      const { meaning } = record;
      if ("absentStatus" in meaning || object === null) {
        return await reply
          .headers(told)
          .code("absentStatus" in meaning ? meaning.absentStatus : 404)
          .send();
      }
      const source = { ...told, [fieldNames.source]: meaning.sha256 };
      if (known.includes(meaning.sha256)) return await reply.headers(source).code(304).send();
      const { etag, type = typeOf(object.headerBlock) } = object.facts.notes as { etag: string; type?: string };
      const fields = { ...source, etag, "content-type": type, "content-length": String(object.lengthBytes) };
      const head = { status: 200, fields: Object.entries(fields).flat() };
      await sendBody(state, { request, reply, host: wanted.host.name }, head, object.body, wholeBody);
      return await reply;
    },
  });
}

function serveSources(app: App, state: State): void {
  const { images, fleet, clock } = state;
  app.route({
    method: readMethods,
    url: "/v1/source",
    schema: { querystring: namedSource },
    async handler(request, reply) {
      roleOf(request, ["shield"]);
      const source = readSource(documentOf(fleet), request.query);
      const known = knownOf(request);
      const context = contextFor(request, reply, clock);
      if (state.sourceBytes > sourceBytesMost) throw new Refused("busy");
      const began = await begin(state, request);
      const { record, body, outcome } = await images.sourceToPeer(source, known, context);
      const { feedSeq, mark, meaning } = record;
      reply.headers(tell(state, began, { ageMs: ageOf(record, clock), mark, feedSeq, outcome, status: null }));
      if ("absentStatus" in meaning) return await reply.code(meaning.absentStatus).send();
      reply.header(fieldNames.source, meaning.sha256);
      if (record.picture !== undefined) reply.headers(writePictureFields(record.picture));
      if (body === null) return await reply.code(304).send();
      state.sourceBytes += body.length;
      const arrived = (): void => {
        state.sourceBytes -= body.length;
      };
      finished(reply.raw).then(arrived, arrived);
      return await reply.type("application/octet-stream").send(body);
    },
  });
}

function serveAssets(app: App, state: State): void {
  const { assets, fleet, clock } = state;
  app.route({
    method: readMethods,
    url: "/v1/asset",
    schema: { querystring: namedHost },
    async handler(request, reply) {
      const role = roleOf(request, roles);
      const host = hostOfKind(documentOf(fleet), request.query.host, "assets");
      const target = targetOf(request);
      const context = contextFor(request, reply, clock);
      const began = await begin(state, request);
      const fields = { ...request.headers };
      delete fields.authorization;
      const delivery = await assets.serveToPeer(
        { host, method: "GET", target, primaryKey: primaryKeyOf(host, target), fields },
        role,
        context,
      );
      const { outcome, ageSeconds, feedSeq, isSoftPurged, statusBefore: status = null } = delivery;
      const mark = isSoftPurged ? "soft" : null;
      const told = tell(state, began, { ageMs: (ageSeconds ?? 0) * 1000, mark, feedSeq, outcome, status });
      await sendAsset(state, { request, reply, host: host.name }, delivery, told);
      return await reply;
    },
  });
}

function takeHotVariants(app: App, { replication, fleet }: State): void {
  app.post("/v1/hot", { schema: { body: hotList } }, async (request) => {
    const document = documentOf(fleet);
    return { held: await replication.take(request.body.variants.map((named) => readKnownVariant(document, named))) };
  });
}

/** Waits for the purges that the asker knows. Returns the position before the work; null if this node is behind. */
async function begin({ peers }: State, request: FastifyRequest): Promise<{ log: FeedPosition | null }> {
  if (!(await peers.caughtUp(readLog(request.headers)))) throw new Refused("behind");
  return { log: peers.position() };
}

/** A question that is being answered, and the name of the host that it is about. */
interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly host: string;
}

interface Answered {
  ageMs: number;
  mark: SourceRecord["mark"];
  feedSeq: number;
  outcome: Outcome;
  /** Cache-Status of the nodes that were asked. */
  status: string | null;
}

/**
 * What the answer says about a record, and what else went into it. Both were judged by the purges in force, so they are
 * valid for the event that was the last one when the work began, however old they are.
 */
function tell(state: State, began: { log: FeedPosition | null }, about: Answered): Record<string, string> {
  const { node, peers } = state;
  const { feedSeq, ageMs, mark, outcome, status } = about;
  // The node has switched to another log meanwhile: it is unknown which of the two this belongs to.
  const isOneLog = began.log !== null && peers.position()?.originId === began.log.originId && feedSeq >= 0;
  return writeTold({
    ageMs,
    log: isOneLog ? began.log : null,
    mark,
    status: cacheStatusOf(node, outcome, status),
  });
}

function ageOf(record: SourceRecord, clock: Clock): number {
  return clock.wallMs() - record.validatedAtMs;
}

/** The stored header section as it is, with the fields that nodes send only to each other. */
async function sendAsset(
  state: State,
  exchange: Exchange,
  delivery: AssetDelivery,
  told: Readonly<Record<string, string>>,
): Promise<void> {
  const { request, reply } = exchange;
  const { body, lengthBytes } = delivery;
  const isUnchanged = isNotModified(request, delivery);
  const part = partOf(request, delivery);
  const status = isUnchanged ? 304 : part === null ? delivery.status : 206;
  const hasContent = status !== 204 && status !== 304;
  const fields: string[] = [];
  for (const [name, value] of headerPairsOf(delivery.headerBlock)) {
    if (!name.toLowerCase().startsWith(ownPrefix)) fields.push(name, value);
  }
  if (body.kind !== "stream") fields.push("Age", String(delivery.ageSeconds ?? 0));
  for (const [name, value] of Object.entries(told)) fields.push(name, value);
  if (status === 206 && part !== null) {
    fields.push("Content-Range", `bytes ${part.start}-${part.end - 1}/${lengthBytes}`);
    fields.push("Content-Length", String(part.end - part.start));
  } else if (lengthBytes !== null && hasContent) fields.push("Content-Length", String(lengthBytes));
  reply.raw.sendDate = false; // the stored one counts
  await sendBody(state, exchange, { status, fields }, body, hasContent ? (part ?? wholeBody) : null);
}

/** The part that is asked for, if the bytes are those that the asker has the beginning of; null: the whole. */
function partOf({ headers }: FastifyRequest, delivery: AssetDelivery): { start: number; end: number } | null {
  const { body, status, lengthBytes, etag, lastModified } = delivery;
  const [range, ifRange] = [fieldOf(headers, "range"), fieldOf(headers, "if-range")];
  if (range === undefined || ifRange === undefined || body.kind === "stream" || lengthBytes === null) return null;
  const verdict = judgeConditions({ ...noConditions, range, ifRange }, { status, etag, lastModified, lengthBytes });
  return verdict.verdict === "part" ? { start: verdict.start, end: verdict.end } : null;
}

const noConditions = {
  ifMatch: undefined,
  ifNoneMatch: undefined,
  ifModifiedSince: undefined,
  ifUnmodifiedSince: undefined,
};

/** @param part null: the head alone @throws NearcastError OVERLOADED, before anything was sent */
async function sendBody(state: State, exchange: Exchange, head: Head, body: Body, part: Part | null): Promise<void> {
  const { transfers, failures, log } = state;
  const { request, reply, host } = exchange;
  const { raw } = reply;
  try {
    const wanted = request.method === "HEAD" ? null : part;
    const sent = await send(head, body, wanted, http1Sink(raw), { rules: transfers, share: () => peersShare });
    const { end, bodyBytes, error } = sent;
    const facts = { requestId: request.id, host, end, bodyBytes, reason: error?.message };
    if (end !== "complete") log.debug(facts, "a response ended early");
  } catch (error) {
    if (error instanceof NearcastError) throw error;
    failures.error("UNSENDABLE", { err: error }, "a response could not be sent to a peer");
    raw.destroy();
    dropUnread(body);
  }
  reply.hijack();
}

function answerErrors(app: FastifyInstance, state: State): void {
  app.setNotFoundHandler(async () => {
    throw new NearcastError("NOT_FOUND", "this path is not served to peers");
  });
  app.setErrorHandler((error: FastifyError | Error, request, reply) => {
    answerError(state, error, request, reply);
  });
}

function answerError(
  { peers, failures }: State,
  thrown: FastifyError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const error = thrown instanceof Refused ? new NearcastError("OVERLOADED", thrown.refusal) : nearcastErrorOf(thrown);
  if (error.cause instanceof ClientGone) peers.count("left");
  else if (error.code === "INTERNAL")
    failures.error(error.code, { err: error.cause ?? error }, "a request of a peer failed");
  const refusal = thrown instanceof Refused ? thrown.refusal : error.code === "OVERLOADED" ? "busy" : undefined;
  if (refusal !== undefined) {
    peers.count(refusal);
    reply.header(fieldNames.refused, refusal);
  }
  void reply
    .code(refusal === "behind" ? 409 : error.status)
    .header(fieldNames.problem, error.code)
    .type("application/problem+json")
    .send(problemOf(error, request.id));
}

/** The asker should go elsewhere for now. */
class Refused extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal);
    this.refusal = refusal;
  }
}

function nearcastErrorOf(thrown: FastifyError | Error): NearcastError {
  if (thrown instanceof NearcastError) return thrown;
  const { statusCode = 500 } = thrown as FastifyError;
  return statusCode < 500
    ? new NearcastError(statusCode === 413 ? "BODY_TOO_LARGE" : "BAD_REQUEST", thrown.message, { cause: thrown })
    : asNearcastError(thrown);
}

function isNotModified({ headers }: FastifyRequest, { body, status, etag, lastModified, lengthBytes }: AssetDelivery) {
  const conditions = {
    ifMatch: undefined,
    ifNoneMatch: headers["if-none-match"],
    ifModifiedSince: headers["if-modified-since"],
    ifUnmodifiedSince: undefined,
    range: undefined,
    ifRange: undefined,
  };
  const selected = { status: body.kind === "stream" ? 0 : status, etag, lastModified, lengthBytes: lengthBytes ?? 0 };
  return judgeConditions(conditions, selected).verdict === "not-modified";
}

/** For an object that an earlier release wrote. */
function typeOf(headerBlock: Buffer): string {
  const pair = headerPairsOf(headerBlock).find(([name]) => name === "Content-Type");
  return pair?.[1] ?? "application/octet-stream";
}

/**
 * The application for other nodes (serve/wire.ts has the fields); the listener is peer/peer-listener.ts.
 *
 *   GET  /v1/image    a variant, as the owner of its name or because the asking site is full
 *   GET  /v1/source   what a name stands for, and its bytes, as the shield
 *   GET  /v1/asset    a response of an assets host, in any of these roles
 *   POST /v1/hot      hot variants of another node
 *
 * Whoever gets here knows the fleet secret. Requests are validated as strictly as those of strangers all the same,
 * because another node may run another release, or be faulty.
 */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomBytes } from "node:crypto";
import { finished } from "node:stream/promises";
import { Type } from "typebox";
import type { Clock } from "#base/clock.ts";
import { asNearcastError, NearcastError, problemOf } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import { boundJsonBodies } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import type { FeedPosition } from "#follow/feed.ts";
import type { Fleet } from "#document/document.ts";
import { writePictureFields } from "#base/picture-facts.ts";
import type { AssetsHost, Host, ImagesHost } from "#document/schema/hosts.ts";
import { parseName } from "#base/source-name.ts";
import { headerPairsOf } from "../cache/object.ts";
import type { SourceRecord } from "../cache/records.ts";
import { fieldOf } from "../fetch/asset.ts";
import { type Body, dropUnread } from "#base/body.ts";
import { type Head, type Part, send, wholeBody } from "../deliver/deliver.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import { contextOf } from "./context.ts";
import { http1Sink } from "./http1-sink.ts";
import type { AssetDelivery } from "../serve/asset-delivery.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import { cacheStatusOf, type Outcome } from "../deliver/outcome.ts";
import type { Peers } from "../serve/peers.ts";
import type { WantedVariant } from "../serve/render.ts";
import { hotKeysMax, type NamedVariant, type Replication } from "../serve/replication.ts";
import type { RequestContext } from "../serve/request-context.ts";
import {
  fieldNames,
  ownPrefix,
  readKnown,
  readLog,
  readNetwork,
  type Refusal,
  type Role,
  roles,
  writeTold,
} from "../serve/wire.ts";
import { parseCanonicalForm } from "../variant/key.ts";
import { judgeConditions } from "../deliver/conditions.ts";
import { parseTarget } from "./target.ts";
import { hostNamed } from "./understand.ts";

export interface PeerAppParts {
  /** Of this process, as its peers call it; for Cache-Status. */
  node: string;
  images: Pick<ImageServer, "serveToPeer" | "sourceToPeer">;
  assets: Pick<AssetServer, "serveToPeer">;
  peers: Peers;
  replication: Pick<Replication, "take">;
  /** Null while no fleet document is known. */
  fleet: () => Fleet | null;
  /** The bound on what waits for slow peers. */
  transfers: TransferRules;
  clock: Clock;
  log: Log;
}

const strict = { additionalProperties: false } as const;
/** One name has 500 bytes at the most, each of which may be written as three. */
const hotBytesMax = hotKeysMax * 2500;
/** Sources on their way to other sites. Past this, new questions are refused until some have arrived. */
const sourceBytesMost = 512 * 1024 * 1024;

/** Of the budget for bytes in flight: all peers together, which are bounded by the clients that they ask for. */
const peersShare = "peers";

const hostText = Type.String({ minLength: 1, maxLength: 253 });
const nameText = Type.String({ minLength: 1, maxLength: 1000 });
const variantText = Type.String({ minLength: 1, maxLength: 200 });
const namedVariant = Type.Object({ host: hostText, name: nameText, variant: variantText }, strict);
const namedSource = Type.Object({ host: hostText, name: nameText }, strict);
const namedHost = Type.Object({ host: hostText }, strict);
const hotList = Type.Object({ variants: Type.Array(namedVariant, { maxItems: hotKeysMax }) }, strict);

/** Builds the application; the caller makes it listen (its handler is `app.routing`, once it is ready). */
export function buildPeerApp(parts: PeerAppParts): FastifyInstance {
  const { node, images, assets, peers, replication, fleet, transfers, clock, log } = parts;
  const sending = { rules: transfers, share: () => peersShare };
  const failures = openFailureLog(log, clock);
  let sourceBytes = 0;
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    genReqId: () => randomBytes(8).toString("hex"),
    return503OnClosing: false,
    bodyLimit: hotBytesMax,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false } },
    frameworkErrors: answerError,
  });
  boundJsonBodies(app);
  const typed = app.withTypeProvider<TypeBoxTypeProvider>();

  /** Waits for the purges that the asker knows. The position from before the work; null when it is behind. */
  async function begin(request: FastifyRequest): Promise<{ log: FeedPosition | null }> {
    if (!(await peers.caughtUp(readLog(request.headers)))) throw new Refused("behind");
    return { log: peers.position() };
  }

  /**
   * What is told of a record and what else went into the answer. They were judged by the purges in force, so all of it
   * is good for the event that was the last one when the work began, however old it is.
   */
  function tell(began: { log: FeedPosition | null }, about: Answered): Record<string, string> {
    const { feedSeq, ageMs, mark, outcome, status } = about;
    // A log that was left meanwhile: of which of the two this is nobody can say.
    const isOneLog = began.log !== null && peers.position()?.originId === began.log.originId && feedSeq >= 0;
    return writeTold({
      ageMs,
      log: isOneLog ? began.log : null,
      mark,
      status: cacheStatusOf(node, outcome, status),
    });
  }

  const ageOf = (record: SourceRecord): number => clock.wallMs() - record.validatedAtMs;

  typed.get("/v1/image", { schema: { querystring: namedVariant } }, async (request, reply) => {
    const role = roleOf(request, ["owner", "spill"]);
    const wanted = readVariant(documentOf(fleet), request.query);
    const known = knownOf(request);
    const context = contextFor(request, reply, clock);
    const began = await begin(request);
    const { record, object, outcome, status } = await images.serveToPeer(wanted, role, context);
    const feedSeq = Math.min(record.feedSeq, object?.facts.feedSeq ?? record.feedSeq);
    const about = { ageMs: ageOf(record), mark: record.mark, feedSeq, outcome, status };
    const told = tell(began, about);
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
    await sendBody({ request, reply, host: wanted.host.name }, head, object.body, wholeBody);
    return await reply;
  });

  typed.get("/v1/source", { schema: { querystring: namedSource } }, async (request, reply) => {
    roleOf(request, ["shield"]);
    const source = readSource(documentOf(fleet), request.query);
    const known = knownOf(request);
    const context = contextFor(request, reply, clock);
    if (sourceBytes > sourceBytesMost) throw new Refused("busy");
    const began = await begin(request);
    const { record, body, outcome } = await images.sourceToPeer(source, known, context);
    const { feedSeq, mark, meaning } = record;
    reply.headers(tell(began, { ageMs: ageOf(record), mark, feedSeq, outcome, status: null }));
    if ("absentStatus" in meaning) return await reply.code(meaning.absentStatus).send();
    reply.header(fieldNames.source, meaning.sha256);
    if (record.picture !== undefined) reply.headers(writePictureFields(record.picture));
    if (body === null) return await reply.code(304).send();
    sourceBytes += body.length;
    const arrived = (): void => {
      sourceBytes -= body.length;
    };
    finished(reply.raw).then(arrived, arrived);
    return await reply.type("application/octet-stream").send(body);
  });

  typed.get("/v1/asset", { schema: { querystring: namedHost } }, async (request, reply) => {
    const role = roleOf(request, roles);
    const host = hostOfKind(documentOf(fleet), request.query.host, "assets");
    const target = targetOf(request);
    const context = contextFor(request, reply, clock);
    const began = await begin(request);
    const fields = { ...request.headers };
    delete fields.authorization;
    const delivery = await assets.serveToPeer({ host, method: "GET", target, fields }, role, context);
    const { outcome, ageSeconds, feedSeq, isSoftPurged, statusBefore: status = null } = delivery;
    const about = {
      ageMs: (ageSeconds ?? 0) * 1000,
      mark: isSoftPurged ? "soft" : null,
      feedSeq,
      outcome,
      status,
    } as const;
    await sendAsset({ request, reply, host: host.name }, delivery, tell(began, about));
    return await reply;
  });

  typed.post("/v1/hot", { schema: { body: hotList } }, async (request) => {
    const document = documentOf(fleet);
    return { held: await replication.take(request.body.variants.map((named) => readKnownVariant(document, named))) };
  });

  /** The stored header section as it is; what nodes only tell each other is added. */
  async function sendAsset(
    asked: Asked,
    delivery: AssetDelivery,
    told: Readonly<Record<string, string>>,
  ): Promise<void> {
    const { request, reply } = asked;
    const { body, status, lengthBytes } = delivery;
    const isUnchanged = isNotModified(request, delivery);
    const hasContent = !isUnchanged && status !== 204 && status !== 304;
    const fields: string[] = [];
    for (const [name, value] of headerPairsOf(delivery.headerBlock)) {
      if (!name.toLowerCase().startsWith(ownPrefix)) fields.push(name, value);
    }
    if (body.kind !== "stream") fields.push("Age", String(delivery.ageSeconds ?? 0));
    for (const [name, value] of Object.entries(told)) fields.push(name, value);
    if (lengthBytes !== null && hasContent) fields.push("Content-Length", String(lengthBytes));
    reply.raw.sendDate = false; // the stored one is what counts
    await sendBody(asked, { status: isUnchanged ? 304 : status, fields }, body, hasContent ? wholeBody : null);
  }

  /** @param part null: the head alone @throws NearcastError OVERLOADED, before anything was sent */
  async function sendBody({ request, reply, host }: Asked, head: Head, body: Body, part: Part | null): Promise<void> {
    const { raw } = reply;
    try {
      const sent = await send(head, body, part, http1Sink(raw), sending);
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

  app.setNotFoundHandler(async () => {
    throw new NearcastError("NOT_FOUND", "this path is not served to peers");
  });
  app.setErrorHandler(answerError);

  function answerError(thrown: FastifyError | Error, request: FastifyRequest, reply: FastifyReply): void {
    const error = thrown instanceof Refused ? new NearcastError("OVERLOADED", thrown.refusal) : nearcastErrorOf(thrown);
    if (error.code === "INTERNAL")
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

  return app;
}

/** A question that is being answered, for the log too. */
interface Asked {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** The name of the host that it is about. */
  readonly host: string;
}

interface Answered {
  ageMs: number;
  mark: SourceRecord["mark"];
  feedSeq: number;
  outcome: Outcome;
  /** Cache-Status of those who were asked. */
  status: string | null;
}

/** The asker shall go elsewhere, for now. */
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

function documentOf(fleet: () => Fleet | null): Fleet {
  const document = fleet();
  if (document === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
  return document;
}

function roleOf<Allowed extends Role>(request: FastifyRequest, allowed: readonly Allowed[]): Allowed {
  const text = fieldOf(request.headers, fieldNames.role);
  const role = allowed.find((one) => one === text);
  if (role === undefined)
    throw new NearcastError("BAD_REQUEST", `${fieldNames.role} must be one of ${allowed.join(", ")}`);
  return role;
}

function knownOf(request: FastifyRequest): readonly string[] {
  const known = readKnown(request.headers);
  if (known === undefined) throw new NearcastError("BAD_REQUEST", `${fieldNames.known} must be a list of hashes`);
  return known;
}

/** On behalf of the client whose network the asker names; an older release names none, and is asked for itself. */
function contextFor(request: FastifyRequest, reply: FastifyReply, clock: Clock): RequestContext {
  const network = readNetwork(request.headers);
  if (network === undefined)
    throw new NearcastError("BAD_REQUEST", `${fieldNames.network} must be a /24 or a /56 such as 192.0.2.0/24`);
  const context = contextOf(request.raw, reply.raw, request.id, clock);
  return network === null ? context : { ...context, clientNetwork: network };
}

function hostOfKind(document: Fleet, name: string, kind: "images"): ImagesHost;
function hostOfKind(document: Fleet, name: string, kind: "assets"): AssetsHost;
function hostOfKind(document: Fleet, name: string, kind: Host["kind"]): Host {
  const host = hostNamed(document, name);
  // The asker's document may be newer than ours, or older.
  if (host?.kind !== kind) throw new NearcastError("UNKNOWN_HOST", `"${name}" is not a host of kind ${kind} here`);
  return host;
}

function readSource(document: Fleet, { host: hostName, name: text }: { host: string; name: string }) {
  const host = hostOfKind(document, hostName, "images");
  const parsed = parseName(text);
  if (!parsed.ok || parsed.name !== text || !text.startsWith(host.sourcePrefix)) {
    throw new NearcastError("BAD_PATH", "the path must name a source of this host");
  }
  return { host, name: parsed.name };
}

function readVariant(document: Fleet, named: NamedVariant): WantedVariant {
  const variant = parseCanonicalForm(named.variant);
  if (variant === undefined) throw new NearcastError("BAD_PARAMETER", "the query must be a variant in canonical form");
  return { ...readSource(document, named), variant };
}

/** Null: not for us, such as one of a host that only a newer document has. */
function readKnownVariant(document: Fleet, named: NamedVariant): WantedVariant | null {
  try {
    return readVariant(document, named);
  } catch {
    return null; // it throws nothing but its refusals
  }
}

function targetOf(request: FastifyRequest): string {
  const text = fieldOf(request.headers, fieldNames.target) ?? "";
  if (!text.startsWith("/")) throw new NearcastError("BAD_REQUEST", `${fieldNames.target} must begin with a slash`);
  const parsed = parseTarget(text);
  if (parsed.outcome === "rejected") throw new NearcastError(parsed.code, parsed.reason);
  return parsed.path + (parsed.query === "" ? "" : `?${parsed.query}`);
}

/** Of an object that an earlier release wrote. */
function typeOf(headerBlock: Buffer): string {
  const pair = headerPairsOf(headerBlock).find(([name]) => name === "Content-Type");
  return pair?.[1] ?? "application/octet-stream";
}

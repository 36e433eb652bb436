/** The fleet document: reading it, publishing the next version, listing versions, rolling back. */
import { type Static, Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { problemLines } from "#base/schema.ts";
import { fleetBytesMax } from "#document/read-document.ts";
import type { Roster } from "#document/roster.ts";
import type { Catalogue, Change, FleetText, FleetVersion } from "../catalogue/catalogue.ts";
import type { ConnectedNodes } from "../channel/connections.ts";
import { refuseUnknownWords, understandingOf } from "../channel/understanding.ts";
import type { FeedHub } from "../feed/hub.ts";
import { refuseDangers } from "../fleet/review-changes.ts";
import type { FleetJudgement } from "../fleet/judge-document.ts";
import type { FleetLimits } from "../fleet/upload-limits.ts";
import type { FleetReader } from "../fleet/stored-fleets.ts";
import type { JudgeFleet } from "../fleet/judge-in-thread.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { changeOf } from "../http/write-request.ts";
import { holds, isKnownTo, isWantedBy, type Precondition } from "../precondition.ts";
import {
  fleetReview,
  fleetShape,
  fleetText,
  fleetVersionList,
  publishedFleet,
  publishQuery,
  rollbackFleetBody,
  versionQuery,
} from "./shapes.ts";

/** How many problems of a document are sent; more would not help. */
const problemsMax = 100;
/** How often a document is judged again when others publish, or nodes come and go, meanwhile. */
const triesMax = 5;

const versionsQuery = Type.Object(
  {
    before: Type.Integer({ minimum: 1, default: Number.MAX_SAFE_INTEGER, description: "only versions below it" }),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
  },
  { additionalProperties: false },
);

export interface FleetRouteDeps {
  readonly catalogue: Catalogue;
  readonly feed: FeedHub;
  readonly fleetLimits: FleetLimits;
  readonly fleetReader: Pick<FleetReader, "remember">;
  readonly judgeFleet: JudgeFleet;
  /** Which nodes serve now: without a live node, nothing can be taken out of service. */
  readonly connected: Pick<ConnectedNodes, "live" | "all">;
}

interface PublishOptions {
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

/** The inputs of a new version's transaction, with the version that a rollback restores. */
type FleetChangeOrder = Change & { readonly fromVersion?: number };

export function addFleetRoutes(app: App, deps: FleetRouteDeps): void {
  const { catalogue } = deps;
  app.get(
    `${apiPath}/fleet`,
    {
      config: { access: "edge" },
      schema: {
        summary: "Get the newest fleet document, or an earlier version",
        tags: ["fleet"],
        querystring: versionQuery,
        response: { 200: fleetText, 304: Type.Null({ description: "the client has this version" }) },
      },
    },
    async (request, reply) => {
      const fleet = await catalogue.fleet(request.query.version);
      if (fleet === undefined) throw noFleet(request.query.version);
      void reply.header("etag", `"${fleet.version}"`).header("cache-control", "no-cache");
      if (!isWantedBy(request.headers["if-match"], String(fleet.version))) throw preconditionFailed();
      if (isKnownTo(request.headers["if-none-match"], String(fleet.version))) return await reply.code(304).send(null);
      return { ...fleetShape(fleet), text: fleet.text };
    },
  );

  app.get(
    `${apiPath}/fleet/versions`,
    {
      config: { access: "writer" },
      schema: {
        summary: "List the kept versions of the fleet document",
        tags: ["fleet"],
        querystring: versionsQuery,
        response: { 200: fleetVersionList },
      },
    },
    async ({ query }) => {
      const versions = await catalogue.fleetVersions(query.before, query.limit);
      return { versions: versions.map(fleetShape) };
    },
  );

  addPublishRoute(app, deps);

  app.post(
    `${apiPath}/fleet/rollbacks`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Restore an earlier version as the next version; by default, the previous one",
        tags: ["fleet"],
        querystring: publishQuery,
        body: rollbackFleetBody,
        response: { 200: Type.Union([publishedFleet, fleetReview]), 201: publishedFleet },
      },
    },
    async (request, reply) => {
      const newest = await catalogue.fleet();
      if (newest === undefined) throw noFleet(undefined);
      const wanted = request.body.version ?? newest.version - 1;
      const target = await catalogue.fleet(wanted);
      if (target === undefined) throw noFleet(wanted);
      const { actor, precondition: wantedBefore } = changeOf(request);
      if (!holds(wantedBefore, tagOf(newest))) throw preconditionFailed();
      // The reviewed version must still be the newest when the old text is published over it.
      const precondition = { kind: "oneOf", tags: [String(newest.version)] } as const;
      const change = { actor, precondition, fromVersion: target.version };
      if (request.query.dryRun === true) return await reply.send(await review(target.text, precondition, deps));
      const published = await publish(target.text, change, request.query, deps).catch((error: unknown) => {
        // Not the client's own precondition: that was met above.
        if (!(error instanceof NearcastError) || error.code !== "PRECONDITION_FAILED") throw error;
        throw new NearcastError("CONFLICT", "another fleet version was published at the same time; try again");
      });
      return await reply.code(published.unchanged ? 200 : 201).send(published);
    },
  );
}

function addPublishRoute(app: App, deps: FleetRouteDeps): void {
  // In a separate scope, because here a body of any type is read as YAML text.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: fleetBytesMax }, (_request, bytes, done) => {
      try {
        done(null, new TextDecoder("utf-8", { fatal: true }).decode(bytes as Buffer));
      } catch {
        done(new NearcastError("BAD_FLEET", "the document must be UTF-8"));
      }
    });
    (scope as App).put(
      `${apiPath}/fleet`,
      {
        bodyLimit: fleetBytesMax,
        config: {
          access: "writer",
          rawRequest: { mediaType: "application/yaml", description: "the fleet document" },
        },
        schema: {
          summary: "Publish a fleet document as the next version",
          tags: ["fleet"],
          querystring: publishQuery,
          response: { 200: Type.Union([publishedFleet, fleetReview]), 201: publishedFleet },
        },
      },
      async (request, reply) => {
        const text = typeof request.body === "string" ? request.body : "";
        const change = changeOf(request);
        const options: PublishOptions = request.query;
        if (options.dryRun === true) return await reply.send(await review(text, change.precondition, deps));
        const published = await publish(text, change, options, deps);
        void reply.code(published.unchanged ? 200 : 201).header("etag", `"${published.version}"`);
        return await reply.send(published);
      },
    );
  });
}

/** The state that a document was judged against. */
interface Judged extends FleetJudgement {
  readonly stored: FleetText | undefined;
  readonly roster: Roster;
}

/** @throws NearcastError BAD_FLEET with `problems`, PRECONDITION_FAILED, OVERLOADED */
async function judge(text: string, precondition: Precondition, deps: FleetRouteDeps): Promise<Judged> {
  const { catalogue, connected } = deps;
  const [stored, roster] = [await catalogue.fleet(), await catalogue.roster()];
  const state = { before: stored?.text, roster, live: connected.live() };
  const judged = await deps.judgeFleet({ text, ...state, connected: connected.all().map(understandingOf) });
  if (!judged.ok) {
    const lines = problemLines(judged.problems).slice(0, problemsMax);
    throw new NearcastError("BAD_FLEET", lines.join("; "), {
      facts: { problems: judged.problems.slice(0, problemsMax) },
    });
  }
  if (!holds(precondition, tagOf(stored))) throw preconditionFailed();
  return { ...judged.value, stored, roster };
}

/** Somebody published, or a node came or went, while the document was judged. */
class Outdated extends Error {}

/**
 * @throws NearcastError BAD_FLEET with `problems`, DANGEROUS_FLEET with `dangers` unless the request insists,
 *   PRECONDITION_FAILED, CONFLICT
 */
async function publish(
  text: string,
  change: FleetChangeOrder,
  options: PublishOptions,
  deps: FleetRouteDeps,
): Promise<Static<typeof publishedFleet>> {
  for (let tries = 0; tries < triesMax; tries += 1) {
    const judged = await judge(text, change.precondition, deps);
    if (options.force !== true) {
      refuseUnknownWords(judged.words);
      refuseDangers(judged.review);
    }
    try {
      return await publishJudged(text, change, options, judged, deps);
    } catch (error) {
      if (!(error instanceof Outdated)) throw error;
    }
  }
  throw new NearcastError("CONFLICT", "the fleet kept changing while this document was checked; publish it again");
}

async function publishJudged(
  text: string,
  change: FleetChangeOrder,
  { force }: PublishOptions,
  judged: Judged,
  { catalogue, feed, fleetLimits, fleetReader }: FleetRouteDeps,
): Promise<Static<typeof publishedFleet>> {
  const result = await catalogue.publishFleet(
    text,
    { ...change, ...(force === true ? { force } : {}) },
    (stored, roster) => {
      const isSame = stored?.version === judged.stored?.version && roster.revision === judged.roster.revision;
      if (!isSame) throw new Outdated();
      return judged.summary;
    },
  );
  if (result.outcome === "precondition-failed") throw preconditionFailed();
  if (result.outcome === "published") {
    fleetReader.remember(result.fleet.version, judged.fleet);
    await fleetLimits.refresh();
    feed.wake();
  }
  return { ...fleetShape(result.fleet), unchanged: result.outcome === "unchanged" };
}

/**
 * What publishing would do, without publishing.
 * @throws NearcastError BAD_FLEET, PRECONDITION_FAILED as publishing would
 */
async function review(
  text: string,
  precondition: Precondition,
  deps: FleetRouteDeps,
): Promise<Static<typeof fleetReview>> {
  const { stored, words, review: reviewed } = await judge(text, precondition, deps);
  const { changes, dangers, dangerCount, ...rest } = reviewed;
  return {
    dryRun: true,
    ...(stored === undefined ? {} : { version: stored.version }),
    unchanged: stored?.text === text,
    changes: [...changes],
    dangers: [...words, ...dangers],
    dangerCount: dangerCount + words.length,
    ...rest,
  };
}

function tagOf(stored: FleetVersion | undefined): string | undefined {
  return stored === undefined ? undefined : String(stored.version);
}

function preconditionFailed(): NearcastError {
  return new NearcastError(
    "PRECONDITION_FAILED",
    "the newest fleet document is not the one that If-Match or If-None-Match requires",
  );
}

function noFleet(version: number | undefined): NearcastError {
  const what =
    version === undefined ? "no fleet document has been published yet" : `there is no fleet version ${version}`;
  return new NearcastError("NOT_FOUND", what);
}

/** The fleet document: reading it, publishing the next version, listing versions, bringing one back. */
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { problemLines } from "#base/schema.ts";
import { type Fleet } from "#fleet/document.ts";
import { fleetBytesMax, parseFleet } from "#fleet/read-document.ts";
import type { Catalogue, Change, PublishOutcome } from "../catalogue/catalogue.ts";
import type { FeedHub } from "../feed/hub.ts";
import type { FleetLimits } from "../fleet-limits.ts";
import { summarizeFleet } from "../fleet-summary.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf, changeOf } from "../http/writing.ts";
import { isKnownTo } from "../precondition.ts";
import { fleetShape, fleetText, fleetVersionList, publishedFleet, rollbackFleetBody, versionQuery } from "./shapes.ts";

/** Problems sent of one document; more help nobody at once. */
const problemsMax = 100;

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
}

export function addFleetRoutes(app: App, deps: FleetRouteDeps): void {
  const { catalogue } = deps;
  app.get(
    `${apiPath}/fleet`,
    {
      config: { access: "edge" },
      schema: {
        summary: "The newest fleet document, or the version asked for",
        tags: ["fleet"],
        querystring: versionQuery,
        response: { 200: fleetText, 304: Type.Null({ description: "the client has this version" }) },
      },
    },
    async (request, reply) => {
      const fleet = await catalogue.fleet(request.query.version);
      if (fleet === undefined) throw noFleet(request.query.version);
      void reply.header("etag", `"${fleet.version}"`).header("cache-control", "no-cache");
      if (isKnownTo(request.headers["if-none-match"], String(fleet.version))) return await reply.code(304).send(null);
      return { ...fleetShape(fleet), text: fleet.text };
    },
  );

  app.get(
    `${apiPath}/fleet/versions`,
    {
      config: { access: "writer" },
      schema: {
        summary: "The kept fleet versions",
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
        summary: "Publish an earlier version's text again, as the next version; by default that of the version before",
        tags: ["fleet"],
        body: rollbackFleetBody,
        response: { 200: publishedFleet, 201: publishedFleet },
      },
    },
    async (request, reply) => {
      const newest = await catalogue.fleet();
      if (newest === undefined) throw noFleet(undefined);
      const wanted = request.body.version ?? newest.version - 1;
      const target = await catalogue.fleet(wanted);
      if (target === undefined) throw noFleet(wanted);
      // What was looked at must still be the newest when the old text is published over it.
      const precondition = { kind: "oneOf", tags: [String(newest.version)] } as const;
      const change = { actor: actorOf(request), precondition, fromVersion: target.version };
      const result = await publish(target.text, change, deps);
      if (result.outcome === "precondition-failed") {
        throw new NearcastError("CONFLICT", "another fleet version was published at the same moment");
      }
      void reply.code(result.outcome === "published" ? 201 : 200);
      return { ...fleetShape(result.fleet), unchanged: result.outcome === "unchanged" };
    },
  );
}

function addPublishRoute(app: App, deps: FleetRouteDeps): void {
  // In a scope of its own, because here a body of any type is taken as YAML text.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "buffer", bodyLimit: fleetBytesMax }, (_request, bytes, done) => {
      try {
        done(null, new TextDecoder("utf-8", { fatal: true }).decode(bytes as Buffer));
      } catch {
        done(new NearcastError("BAD_FLEET", "the document is not UTF-8"));
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
          response: { 200: publishedFleet, 201: publishedFleet },
        },
      },
      async (request, reply) => {
        const text = typeof request.body === "string" ? request.body : "";
        const result = await publish(text, changeOf(request), deps);
        if (result.outcome === "precondition-failed") {
          throw new NearcastError(
            "PRECONDITION_FAILED",
            "the newest fleet version is not the one that the precondition names",
          );
        }
        void reply.code(result.outcome === "published" ? 201 : 200).header("etag", `"${result.fleet.version}"`);
        return { ...fleetShape(result.fleet), unchanged: result.outcome === "unchanged" };
      },
    );
  });
}

/** @throws NearcastError BAD_FLEET with `problems` */
async function publish(
  text: string,
  change: Change & { fromVersion?: number },
  { catalogue, feed, fleetLimits }: FleetRouteDeps,
): Promise<PublishOutcome> {
  const parsed = parseFleet(text);
  if (!parsed.ok) {
    const lines = problemLines(parsed.problems).slice(0, problemsMax);
    throw new NearcastError("BAD_FLEET", lines.join("; "), {
      facts: { problems: parsed.problems.slice(0, problemsMax) },
    });
  }
  const summarize = (before: string | undefined): string => summarizeFleet(readStored(before), parsed.value);
  const result = await catalogue.publishFleet(text, change, summarize);
  if (result.outcome === "published") {
    await fleetLimits.refresh();
    feed.wake();
  }
  return result;
}

/** A stored document may have been written for an older schema; the summary then begins anew. */
function readStored(text: string | undefined): Fleet | undefined {
  const parsed = text === undefined ? undefined : parseFleet(text);
  return parsed?.ok === true ? parsed.value : undefined;
}

function noFleet(version: number | undefined): NearcastError {
  const what = version === undefined ? "no fleet document was published yet" : `there is no fleet version ${version}`;
  return new NearcastError("NOT_FOUND", what);
}

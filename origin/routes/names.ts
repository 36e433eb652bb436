/** What is asked and done about names rather than bytes: listing, versions, rollback, purges. */
import { Type, type Static } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { canonicalName } from "#record/names.ts";
import type { Catalogue, Purge } from "../catalogue/catalogue.ts";
import type { PurgeReports } from "../channel/purge-reports.ts";
import type { FeedHub } from "../feed/hub.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf } from "../http/write-request.ts";
import { parseName, parsePrefix } from "#base/source-name.ts";
import { nameOf } from "./images.ts";
import {
  authoredShape,
  blobShape,
  fromShape,
  imageList,
  imageVersions,
  rollbackImageBody,
  rolledBackImage,
  versionShape,
} from "./shapes.ts";

const strict = { additionalProperties: false } as const;

const listQuery = Type.Object(
  {
    prefix: Type.String({ default: "", description: "only names that begin with it" }),
    cursor: Type.Optional(Type.String({ maxLength: 1000, description: "from the page before" })),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
  },
  strict,
);

const purgeBody = Type.Object(
  {
    names: Type.Optional(Type.Array(Type.String({ maxLength: 500 }), { minItems: 1, maxItems: 1000 })),
    prefix: Type.Optional(Type.String({ minLength: 1, maxLength: 500 })),
    hosts: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 253 }), { minItems: 1, maxItems: 100 })),
    tags: Type.Optional(
      Type.Array(Type.String({ pattern: "^[\\x21-\\x7e]{1,256}$" }), { minItems: 1, maxItems: 1000 }),
    ),
    all: Type.Optional(Type.Literal(true)),
    soft: Type.Optional(Type.Boolean({ description: "mark as stale instead of dropping" })),
  },
  strict,
);

const purgeAnswer = Type.Object({ seq: Type.Integer({ description: "the event's number in the feed" }) });

export interface NameRouteDeps {
  readonly catalogue: Catalogue;
  readonly feed: FeedHub;
  readonly purgeReports: PurgeReports;
}

export function addNameRoutes(app: App, { catalogue, feed, purgeReports }: NameRouteDeps): void {
  app.get(
    `${apiPath}/images`,
    {
      config: { access: "writer" },
      schema: {
        summary: "The names that there are, in order of their bytes",
        tags: ["images"],
        querystring: listQuery,
        response: { 200: imageList },
      },
    },
    async ({ query }) => {
      const prefix = parsePrefix(query.prefix);
      if (!prefix.ok) throw new NearcastError("BAD_PARAMETER", `prefix is not valid: ${prefix.reason}`);
      const after = query.cursor === undefined ? "" : readCursor(query.cursor);
      // One more than asked for tells whether there is a next page.
      const found = await catalogue.list(prefix.name, after, query.limit + 1);
      const page = found.slice(0, query.limit);
      const last = page.at(-1);
      return {
        images: page.flatMap(({ name, version, blob, ...rest }) =>
          blob === undefined ? [] : [{ name, version, ...blobShape(blob), ...authoredShape(rest) }],
        ),
        ...(found.length > page.length && last !== undefined ? { cursor: writeCursor(last.name) } : {}),
      };
    },
  );

  app.get(
    `${apiPath}/versions/*`,
    {
      config: { access: "writer" },
      schema: { summary: "The kept versions of a name", tags: ["images"], response: { 200: imageVersions } },
    },
    async (request) => {
      const name = nameOf(request, `${apiPath}/versions/`);
      const versions = await catalogue.versions(name);
      if (versions.length === 0) throw new NearcastError("NOT_FOUND", `no picture named "${name}"`);
      return { name, versions: versions.map(versionShape) };
    },
  );

  app.post(
    `${apiPath}/rollbacks`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Bring an earlier version of a name back, as its next version; by default the one before",
        tags: ["images"],
        body: rollbackImageBody,
        response: { 200: rolledBackImage },
      },
    },
    async (request) => {
      const name = checkedName(request.body.name, "name");
      const result = await catalogue.rollback(name, request.body.version, actorOf(request));
      switch (result.outcome) {
        case "rolled-back":
        case "unchanged": {
          const { version } = result;
          if (result.outcome === "rolled-back") feed.wake();
          if (version.blob === undefined) throw new NearcastError("INTERNAL", "a rolled back version has no bytes");
          const unchanged = result.outcome === "unchanged";
          return {
            name,
            version: version.version,
            ...fromShape(version),
            ...blobShape(version.blob),
            ...authoredShape(version),
            unchanged,
          };
        }
        case "never-there":
          throw new NearcastError("NOT_FOUND", `no picture named "${name}"`);
        case "no-such-version":
          throw new NearcastError(
            "NOT_FOUND",
            request.body.version === undefined
              ? `"${name}" has no earlier version with bytes`
              : `"${name}" has no version ${request.body.version}, or it is no longer kept`,
          );
        case "version-is-deletion":
          throw new NearcastError(
            "CONFLICT",
            `version ${request.body.version} of "${name}" is a deletion and can't be restored`,
          );
      }
    },
  );

  app.post(
    `${apiPath}/purges`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Have all edges drop (or mark as stale) what they cached of these; several selectors add up",
        tags: ["images"],
        body: purgeBody,
        response: { 202: purgeAnswer },
      },
    },
    async (request, reply) => {
      const seq = await catalogue.purge(readPurge(request.body), actorOf(request));
      purgeReports.open(seq);
      feed.wake();
      void reply.code(202);
      return { seq };
    },
  );
}

/** @throws NearcastError BAD_PARAMETER, BAD_PATH */
function readPurge(body: Static<typeof purgeBody>): Purge {
  const { names, prefix, hosts, tags, all, soft } = body;
  if ([names, prefix, hosts, tags, all].every((selector) => selector === undefined)) {
    throw new NearcastError("BAD_PARAMETER", "select something: names, prefix, hosts, tags or all");
  }
  const parsedPrefix = prefix === undefined ? undefined : parsePrefix(prefix);
  if (parsedPrefix?.ok === false)
    throw new NearcastError("BAD_PARAMETER", `prefix is not valid: ${parsedPrefix.reason}`);
  return {
    reason: "purge",
    ...(names === undefined ? {} : { names: names.map((name, index) => checkedName(name, `names[${index}]`)) }),
    ...(parsedPrefix === undefined ? {} : { prefix: parsedPrefix.name }),
    ...(hosts === undefined ? {} : { hosts: hosts.map(canonicalName) }),
    ...(tags === undefined ? {} : { tags }),
    ...(all === undefined ? {} : { all }),
    soft: soft ?? false,
  };
}

function checkedName(text: string, where: string): string {
  const parsed = parseName(text);
  if (parsed.ok) return parsed.name;
  throw new NearcastError("BAD_PATH", `${where}: ${parsed.reason}`);
}

function writeCursor(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** A cursor is the last name of its page, so it stays good whatever is added or deleted meanwhile. */
function readCursor(cursor: string): string {
  const parsed = parseName(Buffer.from(cursor, "base64url").toString());
  if (parsed.ok && writeCursor(parsed.name) === cursor) return parsed.name;
  throw new NearcastError("BAD_PARAMETER", "cursor must come from an earlier page");
}

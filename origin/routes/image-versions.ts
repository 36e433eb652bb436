/** Requests about names rather than bytes: listing, versions, rollback. */
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
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
    prefix: Type.String({ default: "", description: "only names that begin with this" }),
    cursor: Type.Optional(Type.String({ maxLength: 1000, description: "from the previous page" })),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
  },
  strict,
);

export interface ImageVersionRouteDeps {
  readonly catalogue: Catalogue;
  readonly feed: FeedHub;
}

export function addImageVersionRoutes(app: App, { catalogue, feed }: ImageVersionRouteDeps): void {
  app.get(
    `${apiPath}/images`,
    {
      config: { access: "writer" },
      schema: {
        summary: "List the names, in byte order",
        tags: ["images"],
        querystring: listQuery,
        response: { 200: imageList },
      },
    },
    async ({ query }) => {
      const prefix = parsePrefix(query.prefix);
      if (!prefix.ok) throw new NearcastError("BAD_PARAMETER", `prefix is not valid: ${prefix.reason}`);
      const after = query.cursor === undefined ? "" : readCursor(query.cursor);
      // One more than requested shows whether there is a next page.
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
      schema: { summary: "List the kept versions of a name", tags: ["images"], response: { 200: imageVersions } },
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
        summary: "Restore an earlier version of a name as its next version; by default, the previous one",
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
}

function checkedName(text: string, where: string): string {
  const parsed = parseName(text);
  if (parsed.ok) return parsed.name;
  throw new NearcastError("BAD_PATH", `${where}: ${parsed.reason}`);
}

function writeCursor(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** A cursor is the last name of its page, so it stays valid whatever is added or deleted meanwhile. */
function readCursor(cursor: string): string {
  const parsed = parseName(Buffer.from(cursor, "base64url").toString());
  if (parsed.ok && writeCursor(parsed.name) === cursor) return parsed.name;
  throw new NearcastError("BAD_PARAMETER", "cursor must come from an earlier page");
}

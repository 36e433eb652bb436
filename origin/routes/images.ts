/**
 * Writing and reading one source: PUT, GET, HEAD, DELETE /images/{path}.
 *
 * The path is read from the raw request target, never from the router's parameter (see fleet/source-name.ts).
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import { type ByteRange, pickByteRange } from "#base/byte-range.ts";
import { NearcastError } from "#base/errors.ts";
import { mediaTypeOf } from "#image/picture.ts";
import { writePictureFields } from "#base/picture-facts.ts";
import type { BlobFacts, Catalogue, Version } from "../catalogue/catalogue.ts";
import type { FeedHub } from "../feed/hub.ts";
import type { FleetLimits } from "../fleet/upload-limits.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { changeOf } from "../http/write-request.ts";
import { nameFromTarget } from "#base/source-name.ts";
import { isKnownTo, isWantedBy, parseEntityTags } from "../precondition.ts";
import type { BlobStore } from "../store/blob-store.ts";
import type { Uploads } from "../upload/store-upload.ts";
import { tooLarge } from "../upload/receive-upload.ts";
import { authoredShape, blobShape, deletedImage, storedImage, versionQuery } from "./shapes.ts";

const mount = `${apiPath}/images/`;

export interface ImageRouteDeps {
  readonly store: BlobStore;
  readonly catalogue: Catalogue;
  readonly uploads: Uploads;
  readonly feed: FeedHub;
  readonly fleetLimits: FleetLimits;
}

/** @throws NearcastError BAD_PATH */
export function nameOf(request: FastifyRequest, under: string): string {
  const parsed = nameFromTarget(request.raw.url ?? "", under);
  if (!parsed.ok) throw new NearcastError("BAD_PATH", parsed.reason);
  return parsed.name;
}

export function addImageRoutes(app: App, deps: ImageRouteDeps): void {
  addUploadRoute(app, deps);
  addReadRoute(app, deps);
  const { catalogue, feed } = deps;
  app.delete(
    `${mount}*`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Delete a source; its versions are kept and can be restored",
        tags: ["images"],
        response: { 200: deletedImage },
      },
    },
    async (request) => {
      const name = nameOf(request, mount);
      const result = await catalogue.remove(name, changeOf(request));
      switch (result.outcome) {
        case "deleted":
          feed.wake();
          return { name, version: result.version.version, ...authoredShape(result.version) };
        case "never-there":
          throw new NearcastError("NOT_FOUND", `no picture named "${name}"`);
        case "deleted-before":
          throw new NearcastError("GONE", `"${name}" is already deleted`);
        case "precondition-failed":
          throw preconditionFailed(name);
      }
    },
  );
}

function addUploadRoute(app: App, { uploads, feed, fleetLimits }: ImageRouteDeps): void {
  // In a separate scope, because here bodies of every type stay unread until the handler reads them.
  void app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _payload, done) => {
      done(null);
    });
    (scope as App).put(
      `${mount}*`,
      {
        config: {
          access: "writer",
          rawRequest: { mediaType: "*/*", description: "the picture: JPEG, PNG, WebP, GIF or AVIF" },
        },
        // Before a byte of the body is read: a client that sends Expect: 100-continue need not send it for nothing.
        onRequest: async (request) => {
          nameOf(request, mount);
          changeOf(request);
          refuseUnreadable(request, fleetLimits.current().sourceBytesMax);
        },
        schema: {
          summary: "Store a source under a name, as its next version",
          tags: ["images"],
          response: { 200: storedImage, 201: storedImage },
        },
      },
      async (request, reply) => {
        const name = nameOf(request, mount);
        const change = changeOf(request);
        const result = await uploads.put(name, request.raw, change, fleetLimits.current());
        if (result.outcome === "precondition-failed") throw preconditionFailed(name);
        const { version, wasStored, wasRepaired } = result;
        const blob = blobOf(version);
        if (result.outcome === "stored") feed.wake();
        void reply.code(result.outcome === "stored" && result.isNew ? 201 : 200).header("etag", `"${blob.sha256}"`);
        return {
          name,
          version: version.version,
          ...blobShape(blob),
          ...authoredShape(version),
          deduplicated: wasStored,
          unchanged: result.outcome === "unchanged",
          repaired: wasRepaired,
        };
      },
    );
  });
}

function refuseUnreadable(request: FastifyRequest, sizeBytesMax: number): void {
  const { headers } = request;
  if (Number(headers["content-length"] ?? 0) > sizeBytesMax) throw tooLarge(sizeBytesMax);
  const coding = headers["content-encoding"] ?? "identity";
  if (coding !== "identity") {
    throw new NearcastError("UNSUPPORTED_IMAGE", `upload the picture without Content-Encoding (got ${coding})`);
  }
  // RFC 9110 §14.4: a server that does not support partial PUT must not treat a part as the whole.
  if (headers["content-range"] !== undefined) throw new NearcastError("BAD_REQUEST", "Content-Range is not supported");
}

function addReadRoute(app: App, { store, catalogue }: ImageRouteDeps): void {
  app.route({
    method: ["GET", "HEAD"],
    url: `${mount}*`,
    exposeHeadRoute: false,
    config: { access: "edge", rawResponse: { mediaType: "image/*", description: "the bytes as they were uploaded" } },
    schema: {
      summary: "Get the bytes of a source",
      tags: ["images"],
      querystring: versionQuery,
      response: { 200: Type.Any() },
    },
    handler: async (request, reply) => {
      const name = nameOf(request, mount);
      const wanted = request.query.version;
      const version = await catalogue.version(name, wanted);
      const what = wanted === undefined ? `"${name}"` : `version ${wanted} of "${name}"`;
      if (version === undefined) {
        throw new NearcastError("NOT_FOUND", wanted === undefined ? `no picture named ${what}` : `there is no ${what}`);
      }
      if (version.blob === undefined) throw new NearcastError("GONE", `${what} is deleted`);
      return await sendBlob(request, reply, version, version.blob, store);
    },
  });
}

async function sendBlob(
  request: FastifyRequest,
  reply: FastifyReply,
  version: Version,
  blob: BlobFacts,
  store: BlobStore,
): Promise<FastifyReply> {
  void reply.headers({
    etag: `"${blob.sha256}"`,
    "last-modified": new Date(version.createdMs).toUTCString(),
    // A cache revalidates before each use; edges learn of changes from the feed.
    "cache-control": "no-cache",
    "accept-ranges": "bytes",
    "nearcast-version": version.version,
    ...writePictureFields(blob),
  });
  if (!isWantedBy(request.headers["if-match"], blob.sha256)) throw notWanted();
  if (isKnownTo(request.headers["if-none-match"], blob.sha256)) return await reply.code(304).send();
  void reply.type(mediaTypeOf[blob.type]);
  if (request.method === "HEAD") return await reply.header("content-length", blob.sizeBytes).send();

  const range: ByteRange = isRangeCurrent(request.headers["if-range"], blob.sha256)
    ? pickByteRange(request.headers.range, blob.sizeBytes)
    : { outcome: "whole" };
  if (range.outcome === "unsatisfiable") {
    void reply.header("content-range", `bytes */${blob.sizeBytes}`);
    throw new NearcastError(
      "RANGE_NOT_SATISFIABLE",
      `the range must lie within the ${blob.sizeBytes} bytes of the picture`,
    );
  }
  const opened = await store.open(blob.sha256, blob.sizeBytes);
  if (opened === undefined) {
    throw new NearcastError("DISK_FAILED", `the blob ${blob.sha256} of version ${version.version} is not in the store`);
  }
  const { start, end } = range.outcome === "part" ? range : { start: 0, end: blob.sizeBytes };
  if (range.outcome === "part") {
    void reply.code(206).header("content-range", `bytes ${start}-${end - 1}/${blob.sizeBytes}`);
  }
  const sizeBytes = end - start;
  return await reply.header("content-length", sizeBytes).send(opened.stream(start, sizeBytes));
}

/** `If-Range` (RFC 9110 §13.1.5): the range applies only if the client has the rest of the same bytes. */
function isRangeCurrent(ifRange: string | string[] | undefined, sha256: string): boolean {
  if (ifRange === undefined) return true;
  const tags = parseEntityTags(String(ifRange));
  return tags?.length === 1 && tags[0]?.isWeak === false && tags[0].tag === sha256;
}

function blobOf(version: Version): BlobFacts {
  if (version.blob === undefined) throw new NearcastError("INTERNAL", "a stored version has no bytes");
  return version.blob;
}

function notWanted(): NearcastError {
  return new NearcastError("PRECONDITION_FAILED", "the picture has none of the tags of If-Match");
}

function preconditionFailed(name: string): NearcastError {
  return new NearcastError(
    "PRECONDITION_FAILED",
    `"${name}" is not in the state that If-Match or If-None-Match requires`,
  );
}

/** The OpenAPI document: the routes' own schemas, plus what those can't express (raw bodies, tokens, problems). */
import type { FastifyDynamicSwaggerOptions } from "@fastify/swagger";
import { errorCatalogue } from "#base/errors.ts";

const problem = {
  description: "A problem (RFC 9457)",
  content: {
    "application/problem+json": {
      schema: {
        type: "object",
        required: ["type", "title", "status", "code", "requestId"],
        properties: {
          type: { type: "string" },
          title: { type: "string" },
          status: { type: "integer" },
          code: { type: "string", enum: Object.keys(errorCatalogue) },
          requestId: { type: "string" },
          detail: { type: "string" },
        },
      },
    },
  },
};

export const openApiHead = {
  openapi: "3.1.0",
  info: {
    title: "nearcast origin",
    description: "Stores sources and the fleet document, keeps their versions, and tells edges what changed.",
    version: "1",
  },
  components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
} as const satisfies FastifyDynamicSwaggerOptions["openapi"];

/** One route as shown in the document. */
export const describeRoute: NonNullable<FastifyDynamicSwaggerOptions["transform"]> = ({ schema, url, route }) => {
  const { access, rawRequest, rawResponse } = route.config ?? {};
  const isWildcard = url.endsWith("/*");
  const response = { ...(schema?.response as Record<string, unknown> | undefined) };
  if (rawResponse !== undefined) {
    const { description, mediaType } = rawResponse;
    response["200"] = { description, content: { [mediaType]: { schema: { type: "string" } } } };
  }
  response["default"] = problem;
  return {
    url: isWildcard ? `${url.slice(0, -1)}{path}` : url,
    schema: {
      ...schema,
      ...(isWildcard ? { params: pathParameter } : {}),
      ...(rawRequest === undefined
        ? {}
        : { consumes: [rawRequest.mediaType], body: { type: "string", description: rawRequest.description } }),
      security: access === "anybody" ? [] : [{ bearer: [] }],
      description: accessNote[access ?? "anybody"],
      response,
    },
  };
};

const pathParameter = {
  type: "object",
  required: ["path"],
  properties: {
    path: { type: "string", description: "the source's name; its slashes stay, each segment is percent-encoded" },
  },
};

const accessNote = {
  anybody: "Needs no token.",
  edge: "Needs the edge token or the writer token.",
  "edge-only": "Needs the edge token; the writer token is not accepted.",
  writer: "Needs the writer token.",
} as const;

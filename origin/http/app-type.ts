/** The Fastify application's type with TypeBox schemas, and what each route must say of itself. */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from "fastify";
import type { TokenName } from "../token/token-kind.ts";

export type App = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Who may call a route: anybody, who has either token, who has the edges' (and not the writer's), or the writer's. */
export type Access = "anybody" | "edge" | "edge-only" | "writer";

/** Bodies that are no JSON can't be described by the schemas that Fastify checks; this goes to the OpenAPI document. */
export interface RawContent {
  readonly mediaType: string;
  readonly description: string;
}

declare module "fastify" {
  interface FastifyRequest {
    /** The token that was presented; null where anybody may call. */
    token: TokenName | null;
  }
  interface FastifyContextConfig {
    access?: Access;
    rawRequest?: RawContent;
    rawResponse?: RawContent;
  }
}

export const apiPath = "/api/v1";
/** What edges follow, and nobody else. */
export const feedPath = `${apiPath}/feed`;

/** The Fastify application's type with TypeBox schemas, and what each route must declare. */
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

/** Who may call a route: anybody, holders of either token, of the edge token only, or of the writer token only. */
export type Access = "anybody" | "edge" | "edge-only" | "writer";

/** The schemas that Fastify checks can't describe bodies that are not JSON; this goes into the OpenAPI document. */
export interface RawContent {
  readonly mediaType: string;
  readonly description: string;
}

declare module "fastify" {
  interface FastifyRequest {
    /** The token of the request; null if anybody may call. */
    token: TokenName | null;
  }
  interface FastifyContextConfig {
    access?: Access;
    rawRequest?: RawContent;
    rawResponse?: RawContent;
  }
}

export const apiPath = "/api/v1";
/** Only edges follow it. */
export const feedPath = `${apiPath}/feed`;

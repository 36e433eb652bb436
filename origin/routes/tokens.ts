/** The tokens: a writer lists, rotates and retires them; an edge requests the one to use. */
import { Type } from "typebox";
import { edgeTokenSchema } from "#secret/edge-token.ts";
import { NearcastError } from "#base/errors.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf } from "../http/write-request.ts";
import { type TokenKind, tokenKinds } from "../token/token-kind.ts";
import type { Tokens } from "../token/tokens.ts";

const kind = Type.Unsafe<TokenKind>({ type: "string", enum: [...tokenKinds], description: "kind of token" });
const kindPath = Type.Object({ kind });
const time = Type.String({ description: "ISO 8601, UTC" });
const id = Type.String({ description: "ID of the token; does not reveal it" });

/** A month: a longer overlap is not a rotation but two tokens. */
const overlapSecondsMax = 2_678_400;

const tokenList = Type.Object({
  tokens: Type.Array(
    Type.Object({
      kind,
      id,
      current: Type.Boolean({ description: "false: an older token that is still accepted" }),
      createdAt: time,
      expiresAt: Type.Optional(time),
      handedOut: Type.Boolean({ description: "edges may fetch it with an older token" }),
      lastUsedAt: Type.Optional(time),
      usedFrom: Type.Array(Type.String(), {
        description: "addresses that used it since the origin started, newest first",
      }),
    }),
  ),
});

const rotateBody = Type.Object(
  {
    overlapSeconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: overlapSecondsMax,
        description: "how long older tokens stay valid; 0: not at all; default tokens.overlapHours",
      }),
    ),
    handOut: Type.Optional(
      Type.Boolean({ description: "edges may fetch the new token with an older one; default: true" }),
    ),
  },
  { additionalProperties: false },
);

const rotated = Type.Object({
  kind,
  id,
  token: Type.String({ description: "the new token; keep it secret" }),
  olderUntil: Type.Optional(time),
});

export function addTokenRoutes(app: App, tokens: Tokens): void {
  app.get(
    `${apiPath}/tokens`,
    {
      config: { access: "writer" },
      schema: { summary: "List the valid tokens by ID", tags: ["tokens"], response: { 200: tokenList } },
    },
    async (_request, reply) => {
      void reply.header("cache-control", "no-store");
      return {
        tokens: tokens.list().map(({ createdMs, expiresMs, isHandedOut, lastUsedMs, usedFrom, ...token }) => ({
          kind: token.kind,
          id: token.id,
          current: expiresMs === undefined,
          createdAt: isoTime(createdMs),
          ...(expiresMs === undefined ? {} : { expiresAt: isoTime(expiresMs) }),
          handedOut: isHandedOut,
          ...(lastUsedMs === undefined ? {} : { lastUsedAt: isoTime(lastUsedMs) }),
          usedFrom: [...usedFrom],
        })),
      };
    },
  );

  app.post(
    `${apiPath}/tokens/:kind/rotations`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Create a new token; the older ones stay valid for a while",
        tags: ["tokens"],
        params: kindPath,
        body: rotateBody,
        response: { 201: rotated },
      },
    },
    async (request, reply) => {
      const { overlapSeconds, handOut = true } = request.body;
      const overlapMs = overlapSeconds === undefined ? undefined : overlapSeconds * 1000;
      const options = { overlapMs, isHandedOut: handOut };
      const made = await tokens.rotate(request.params.kind, options, actorOf(request));
      void reply.code(201).header("cache-control", "no-store");
      return {
        kind: request.params.kind,
        id: made.id,
        token: made.token,
        ...(overlapSeconds === 0 ? {} : { olderUntil: isoTime(made.olderUntilMs) }),
      };
    },
  );

  app.delete(
    `${apiPath}/tokens/:kind/older`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Revoke the older tokens at once; only the current one stays valid",
        tags: ["tokens"],
        params: kindPath,
        response: { 200: Type.Object({ kind, retired: Type.Integer({ description: "number of revoked tokens" }) }) },
      },
    },
    async (request) => {
      // Retiring with an older token would lock the writer out.
      const { kind: whose } = request.params;
      const own = tokens.list().find((token) => token.kind === "writer" && token.id === request.token?.id);
      if (whose === "writer" && own?.expiresMs !== undefined) {
        throw new NearcastError(
          "CONFLICT",
          "you use an older writer token: switch to the current one, then retire the older ones",
        );
      }
      return { kind: whose, retired: await tokens.retire(whose, actorOf(request)) };
    },
  );

  app.get(
    `${apiPath}/tokens/edge/current`,
    {
      config: { access: "edge-only" },
      schema: {
        summary:
          "Get the ID of the token that an edge should use, and the token itself if the request has an older one",
        tags: ["tokens"],
        response: { 200: edgeTokenSchema },
      },
    },
    async (request, reply) => {
      void reply.header("cache-control", "no-store");
      if (request.token === null) throw new NearcastError("INTERNAL", "no token was presented");
      return tokens.tellEdge(request.token);
    },
  );
}

function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

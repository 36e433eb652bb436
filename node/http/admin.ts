/**
 * The admin listener: for the operator of the machine, on loopback unless the configuration says otherwise. It changes
 * nothing.
 *
 *   /healthz      the process is alive           /metrics       Prometheus
 *   /readyz       200 when it may get clients    /status?brief= what `nearcast status` shows
 *   /explain?url=&accept=                        where a response would come from, and why
 *   /explain/dns?name=&type=&ip=                 which address DNS would return, and why
 */
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import { Type } from "typebox";
import { splitAbsolute } from "#base/absolute-form.ts";
import { asNearcastError, NearcastError, problemOf } from "#base/errors.ts";
import { whyRefused } from "#base/refused-request.ts";
import { canonicalName } from "#record/domain-names.ts";
import { hostOf } from "./target.ts";

export interface AdminParts {
  /** Names under which this listener may be requested, in addition to `localhost` and all addresses. */
  hosts: readonly string[];
  /** Why the node is not ready; empty when it is. */
  unready: () => readonly string[];
  /** What the operator should know although the node may get clients. */
  warnings: () => readonly string[];
  /** @param isBrief omit what the node knows about others, which grows with the fleet */
  status: (isBrief: boolean) => Record<string, unknown>;
  metrics: { render: () => Promise<string>; contentType: string };
  /** @throws NearcastError 4xx for a URL that would be refused */
  explainUrl: (url: URL, accept: string | undefined) => Promise<Record<string, unknown>>;
  /** Undefined while DNS has no snapshot. */
  explainName: (question: { name: string; type: string; ip: string }) => unknown;
}

const strict = { additionalProperties: false } as const;

/** Builds the application; the caller makes it listen (its handler is `app.routing`). */
export function buildAdminApp(parts: AdminParts): FastifyInstance {
  const app = fastify({
    logger: false,
    genReqId: () => randomBytes(8).toString("hex"),
    return503OnClosing: false,
    // An unknown parameter is most often the rest of a URL whose `&` was not encoded.
    ajv: { customOptions: { removeAdditional: false } },
    rewriteUrl: ({ url = "" }) => splitAbsolute(url).rest,
    frameworkErrors: answerError,
  });
  const names = new Set(["localhost", ...parts.hosts.map((name) => canonicalName(name))]);
  app.addHook("onRequest", async (request) => {
    const refusal = whyRefused(request.raw);
    if (refusal !== undefined) throw refusal;
    refuseForeignHost(splitAbsolute(request.originalUrl).authority ?? request.headers.host, names);
  });
  const typed = app.withTypeProvider<TypeBoxTypeProvider>();

  typed.get("/healthz", async () => ({ state: "alive" }));

  typed.get("/readyz", async (_request, reply) => {
    const reasons = parts.unready();
    reply.code(reasons.length === 0 ? 200 : 503);
    return { ready: reasons.length === 0, reasons, warnings: parts.warnings() };
  });

  typed.get(
    "/status",
    { schema: { querystring: Type.Object({ brief: Type.Boolean({ default: false }) }, strict) } },
    async (request) => parts.status(request.query.brief),
  );

  typed.get("/metrics", async (_request, reply) => {
    const text = await parts.metrics.render();
    return await reply.type(parts.metrics.contentType).send(text);
  });

  typed.get(
    "/explain",
    {
      schema: {
        querystring: Type.Object(
          { url: Type.String({ maxLength: 8192 }), accept: Type.Optional(Type.String({ maxLength: 2048 })) },
          strict,
        ),
      },
    },
    async (request) => {
      const url = URL.parse(request.query.url);
      if (url === null)
        throw new NearcastError("BAD_PARAMETER", "url must be an absolute URL such as http://host/path?w=200");
      return await parts.explainUrl(url, request.query.accept);
    },
  );

  typed.get(
    "/explain/dns",
    {
      schema: {
        querystring: Type.Object(
          {
            name: Type.String({ minLength: 1, maxLength: 1024 }),
            type: Type.String({ pattern: "^[A-Za-z0-9]{1,10}$", default: "A" }),
            ip: Type.String({ maxLength: 64, default: "127.0.0.1" }),
          },
          strict,
        ),
      },
    },
    async (request) => {
      const { name, type, ip } = request.query;
      const explained = parts.explainName({ name, type: type.toUpperCase(), ip });
      if (explained === undefined) throw new NearcastError("NOT_READY", "DNS has no fleet document yet");
      return explained;
    },
  );

  app.setNotFoundHandler(async () => {
    const known = "/healthz, /readyz, /status, /metrics, /explain?url=, /explain/dns?name=&type=&ip=";
    throw new NearcastError("NOT_FOUND", `this listener serves ${known}`);
  });
  app.setErrorHandler(answerError);
  return app;
}

/**
 * A page in a browser on this machine could make its own name point here (DNS rebinding) and read the answers. Host
 * then contains that name, so only names that the operator has listed are answered; an address can't be rebound.
 */
function refuseForeignHost(authority: string | undefined, names: ReadonlySet<string>): void {
  const host = hostOf(authority);
  if (host !== null && (names.has(host) || isIP(host.replace(/^\[|\]$/g, "")) !== 0)) return;
  const asked = authority === undefined ? "no Host field" : `Host "${authority.slice(0, 253)}"`;
  throw new NearcastError(
    "UNKNOWN_HOST",
    `use an IP address, localhost or a name of admin.hosts as the host (got ${asked})`,
  );
}

function answerError(thrown: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const isBadInput = thrown.validation !== undefined || (thrown.statusCode ?? 500) < 500;
  const unknown = thrown.validation?.[0]?.params["additionalProperty"];
  const detail = typeof unknown === "string" ? `${unknown}: there is no such parameter` : thrown.message;
  const error =
    thrown instanceof NearcastError || !isBadInput
      ? asNearcastError(thrown)
      : new NearcastError("BAD_PARAMETER", detail, { cause: thrown });
  void reply.code(error.status).type("application/problem+json").send(problemOf(error, request.id));
}

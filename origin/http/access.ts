/**
 * Access control. Every route declares its access in its config; a route without one is not registered, so a forgotten
 * declaration can't expose it.
 */
import { NearcastError } from "#base/errors.ts";
import type { Refusals } from "../refused-tokens.ts";
import type { Tokens } from "../token/tokens.ts";
import type { App } from "./app-type.ts";
import { addressOf } from "./write-request.ts";

export function guardRoutes(app: App, tokens: Tokens, refused: Refusals): void {
  app.addHook("onRoute", (route) => {
    if (route.config?.access === undefined) throw new Error(`the route ${route.url} does not say who may call it`);
  });
  app.decorateRequest("token", null);
  app.addHook("onRequest", async (request, reply) => {
    // Requests without a matching route have no config: they get 404 or 405 whoever sends them.
    const access = request.routeOptions.config.access ?? "anybody";
    if (access === "anybody") return;
    const presented = tokens.judge(request.headers.authorization);
    const address = addressOf(request);
    const route = `${request.method} ${request.routeOptions.url ?? ""}`;
    if (presented.outcome !== "known") {
      // RFC 6750 §3.1: no error code if the request had no credentials.
      const error = presented.outcome === "missing" ? "" : `, error="invalid_token"`;
      void reply.header("www-authenticate", `Bearer realm="nearcast"${error}`);
      const { outcome: reason } = presented;
      if (reason !== "missing") refused.note({ address, reason, token: undefined, route });
      throw new NearcastError("UNAUTHORIZED", refusals[presented.outcome]);
    }
    const { kind, id } = presented;
    tokens.noteUse({ kind, id }, address);
    const needed = access === "edge-only" ? "edge" : access === "writer" ? "writer" : kind;
    if (kind !== needed) {
      refused.note({ address, reason: "wrong-kind", token: { kind, id }, route });
      void reply.header("www-authenticate", `Bearer realm="nearcast", error="insufficient_scope"`);
      throw new NearcastError("FORBIDDEN", `this route needs the ${needed} token (got the ${kind} token)`);
    }
    request.token = { kind, id };
  });
}

const refusals = {
  missing: "the request needs an Authorization header: Bearer TOKEN",
  malformed: "the Authorization header must have the form: Bearer TOKEN",
  unknown: "this origin does not accept the token",
} as const;

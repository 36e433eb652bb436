/** Requests of operators: liveness, metrics, and the API as an OpenAPI document. */
import { Type } from "typebox";
import type { OriginMetrics } from "../origin-metrics.ts";
import type { App } from "../http/app-type.ts";

export function addServiceRoutes(app: App, metrics: OriginMetrics): void {
  app.get(
    "/healthz",
    {
      config: { access: "anybody" },
      schema: {
        summary: "Check that the origin is alive",
        tags: ["service"],
        response: { 200: Type.Object({ status: Type.Literal("ok") }) },
      },
    },
    async (_request, reply) => {
      void reply.header("cache-control", "no-store");
      return { status: "ok" as const };
    },
  );
  app.get(
    "/metrics",
    {
      // A token is required even on loopback: behind a proxy, every client looks like a local one.
      config: { access: "edge", rawResponse: { mediaType: "text/plain", description: "Prometheus text format" } },
      schema: {
        summary: "Get metrics in the Prometheus text format",
        tags: ["service"],
        response: { 200: Type.Any() },
      },
    },
    async (_request, reply) => await reply.type(metrics.contentType).send(await metrics.print()),
  );
  app.get(
    "/api/openapi.json",
    {
      config: { access: "anybody" },
      schema: { summary: "Get this API as an OpenAPI 3.1 document", tags: ["service"], response: { 200: Type.Any() } },
    },
    async (_request, reply) => await reply.type("application/json").send(JSON.stringify(app.swagger())),
  );
}

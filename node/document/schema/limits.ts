/** `limits` of the fleet document: bounds on pictures, on renderings and on what an edge stores. */
import { type Static, Type } from "typebox";
import { strict } from "#base/schema-terms.ts";

export const limits = Type.Object(
  {
    sourceBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 1_073_741_824,
      default: 104_857_600,
      unit: "B",
      description: "maximum size of an uploaded picture",
    }),
    sourcePixelsMax: Type.Integer({
      minimum: 1024,
      maximum: 268_402_689,
      default: 100_000_000,
      unit: "px",
      description: "maximum width × height × frames of an uploaded picture",
    }),
    originTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 20_000,
      unit: "ms",
      description: "time limit for fetching a source from the origin, including connecting, retries and the body",
    }),
    originFailureMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 1000,
      unit: "ms",
      description: "how long all requests for a URL or a source get its last failure, without a request to the origin",
    }),
    renderTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 15_000,
      unit: "ms",
      description: "time limit for one rendering",
    }),
    renderQueueMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1000,
      description: "renderings that may wait on one node; more get a 503",
    }),
    variantsPerSourceMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 200,
      description: "stored variants of one picture; beyond it, a new one replaces one that is used less",
    }),
    objectBytesMax: Type.Integer({
      minimum: 1024,
      maximum: 1_073_741_824,
      default: 67_108_864,
      unit: "B",
      description: "largest body that an edge stores; larger ones pass through",
    }),
  },
  { ...strict, default: {}, description: "limits for pictures, renderings and stored objects" },
);
export type Limits = Static<typeof limits>;

/** `hosts` of the fleet document: what HTTP answers for. Their cache lifetimes are in cache-lifetimes.ts. */
import { type Static, Type } from "typebox";
import { kinds, strict } from "#base/schema-terms.ts";
import { absoluteName } from "#record/domain-names.ts";
import { assetsLifetimes, imagesLifetimes } from "./cache-lifetimes.ts";
import { hostHttps } from "./host-https.ts";

const imagesHost = Type.Object(
  {
    name: absoluteName,
    kind: Type.Literal("images"),
    sourcePrefix: Type.String({
      pattern: "^(?:[A-Za-z0-9._-]+/)*$",
      maxLength: 200,
      default: "",
      description: "prefix added to the URL path to get the name of the picture, such as `shop/`",
    }),
    ...imagesLifetimes,
    enlargementMax: Type.Number({
      minimum: 1,
      maximum: 10,
      default: 1,
      description:
        "largest factor by which pictures are enlarged; beyond it, the whole result is reduced in proportion; 1: never",
    }),
    outputPixelsMax: Type.Integer({
      minimum: 1024,
      maximum: 67_108_864,
      default: 33_554_432,
      unit: "px",
      description: "maximum width × height of a variant; beyond it, the whole result is reduced in proportion",
    }),
    cacheControl: Type.String({
      maxLength: 200,
      pattern: "^[\\x20-\\x7e]+$",
      default: "public, max-age=3600, stale-while-revalidate=86400",
      description: "Cache-Control field of responses",
    }),
    ...hostHttps,
  },
  strict,
);
export type ImagesHost = Static<typeof imagesHost>;

const assetsHost = Type.Object(
  {
    name: absoluteName,
    kind: Type.Literal("assets"),
    origin: Type.String({
      format: "http-url",
      description:
        "base URL of the HTTP/1.1 origin behind this host; an edge must allow private ones " +
        "(`assets.privateNetworks`). After a change, stored responses of the former origin stay fresh as before; " +
        "`nearcast purge --host NAME` drops them",
    }),
    ...assetsLifetimes,
    timeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 10_000,
      unit: "ms",
      description:
        "time limit for the response header, including connecting and retries; also for each pause in the body",
    }),
    hedging: Type.Boolean({
      default: true,
      description:
        "send a second request when a response is later than 95 % of the recent ones, for at most 5 % more requests",
    }),
    ...hostHttps,
  },
  strict,
);
export type AssetsHost = Static<typeof assetsHost>;

export const host = kinds("kind", [imagesHost, assetsHost]);
export type Host = Static<typeof host>;

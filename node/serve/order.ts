/** What a request asks for, once it is understood: a variant of a picture, or a URL of an assets host. */
import type { AssetsHost } from "#document/schema/hosts.ts";
import type { RequestFields } from "../fetch/asset.ts";
import type { WantedVariant } from "./render.ts";

export interface ImageOrder extends WantedVariant {
  /** Whether the answer could differ by Accept. */
  varies: boolean;
}

export interface AssetOrder {
  host: AssetsHost;
  method: "GET" | "HEAD";
  /** Path and query as the client wrote them. */
  target: string;
  /** Of the host and the target: asset-key.ts, primaryKeyOf(). */
  primaryKey: string;
  fields: RequestFields;
}

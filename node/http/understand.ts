/**
 * Turns a request into an order for one of the servers: host and URL → images or assets, source name, variant. Pure,
 * except that it remembers orders that come repeatedly.
 */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { LRUCache } from "lru-cache";
import { NearcastError } from "#base/errors.ts";
import { nearest } from "#base/did-you-mean.ts";
import { canonicalName } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Host } from "#document/schema/hosts.ts";
import { parseName } from "#base/source-name.ts";
import { primaryKeyOf } from "../serve/asset-key.ts";
import type { AssetOrder, ImageOrder } from "../serve/order.ts";
import { parseVariant } from "../variant/grammar.ts";
import { negotiate } from "../variant/negotiate.ts";
import { withinBounds } from "../variant/variant.ts";
import { hostOf, parseTarget } from "./target.ts";

/** What a request wants, once it is understood. */
export type Order = { kind: "images"; order: ImageOrder } | { kind: "assets"; order: AssetOrder };

/** Stands for the host of a request without Host, which only HTTP/1.0 may be (base/refused-request.ts). */
const hostOfNone = "localhost";
/** How many orders of each kind are remembered, and how long they may be: at most about 2 KB each. */
const ordersMax = 10_000;
const rememberedTargetMax = 1024;
const rememberedAcceptMax = 256;

/**
 * understand() for repeated requests. An order for a picture depends only on document, host, target and Accept, and is
 * frozen, so that values derived from it can be remembered too. An order for an asset, except for its method and
 * fields, depends only on document, host and target.
 */
export function rememberOrders(): (document: Fleet, request: Asked) => Order {
  const images = new LRUCache<string, Order>({ max: ordersMax });
  const assets = new LRUCache<string, Omit<AssetOrder, "method" | "fields">>({ max: ordersMax });
  let ofDocument: Fleet | undefined;
  return (document, request) => {
    const { method, target, host = hostOfNone, accept = "" } = request;
    if (document !== ofDocument) {
      images.clear();
      assets.clear();
      ofDocument = document;
    }
    const isShort = target.length <= rememberedTargetMax && accept.length <= rememberedAcceptMax;
    if (!isShort) return understand(document, { method, target, fields: request.fields() });
    // None of the three contains a line feed.
    const place = `${host}\n${target}`;
    const asset = assets.get(place);
    if (asset !== undefined) return { kind: "assets", order: orderOf(asset, request) };
    const key = `${accept}\n${place}`;
    const image = images.get(key);
    if (image !== undefined) return image;
    const understood = understand(document, { method, target, fields: request.fields() });
    if (understood.kind === "images") images.set(key, understood);
    else {
      const { order } = understood;
      assets.set(place, { host: order.host, target: order.target, primaryKey: order.primaryKey });
    }
    return understood;
  };
}

/** A hit whose origin names no selecting fields never looks at the fields. */
function orderOf(asset: Omit<AssetOrder, "method" | "fields">, { method, fields }: Asked): AssetOrder {
  const { host, target, primaryKey } = asset;
  return {
    host,
    target,
    primaryKey,
    method,
    get fields() {
      return fields();
    },
  };
}

/** The parts of a request that decide its order. */
export interface Asked {
  readonly method: "GET" | "HEAD";
  readonly target: string;
  /** The values of the fields Host and Accept. */
  readonly host: string | undefined;
  readonly accept: string | undefined;
  readonly fields: () => AssetOrder["fields"];
}

/** Those parts, as Node's server has read them. */
export function askedOf({ method, headers }: IncomingMessage, target: string): Asked {
  const { host, accept } = headers;
  return { method: method === "HEAD" ? "HEAD" : "GET", target, host, accept, fields: () => headers };
}

/** A request's method, target and fields as an order for one of the servers; pure. @throws NearcastError 4xx */
export function understand(
  document: Fleet,
  request: { method: "GET" | "HEAD"; target: string; fields: AssetOrder["fields"] },
): Order {
  const target = parseTarget(request.target);
  if (target.outcome === "rejected") throw new NearcastError(target.code, target.reason);
  const host = pickHost(document, target.authority ?? single(request.fields["host"]));
  if (host.kind === "assets") {
    const asked = target.path + (target.query === "" ? "" : `?${target.query}`);
    const primaryKey = primaryKeyOf(host, asked);
    return {
      kind: "assets",
      order: { host, method: request.method, target: asked, primaryKey, fields: request.fields },
    };
  }
  const name = parseSourceName(host.sourcePrefix, target.path);
  const parsed = parseVariant(target.query, document.presets);
  if (parsed.outcome === "rejected") {
    const { parameter, value, allowed } = parsed;
    throw new NearcastError("BAD_PARAMETER", `${parameter} must be ${allowed} (got "${value}")`, {
      facts: { parameter, value, allowed },
    });
  }
  const { variant, varies } = negotiate(parsed, single(request.fields["accept"]));
  return { kind: "images", order: { host, name, variant: withinBounds(variant, host), varies } };
}

/** How many hosts are listed. */
const hostsToldMax = 20;

/** The same for operators, who may be told which hosts the fleet serves. @throws NearcastError 4xx */
export function understandForOwner(...[document, request]: Parameters<typeof understand>): Order {
  try {
    return understand(document, request);
  } catch (error) {
    if (!(error instanceof NearcastError) || error.code !== "UNKNOWN_HOST") throw error;
    const names = document.hosts.map(({ name }) => name);
    const alike = nearest(hostOf(single(request.fields["host"])) ?? "", names);
    const more = names.length > hostsToldMax ? ` and ${names.length - hostsToldMax} more` : "";
    const served = names.length === 0 ? "none yet" : `${names.slice(0, hostsToldMax).join(", ")}${more}`;
    const hint = alike === undefined ? "" : `; did you mean ${alike}?`;
    throw new NearcastError("UNKNOWN_HOST", `${error.message} (served: ${served})${hint}`, { cause: error });
  }
}

function parseSourceName(prefix: string, path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path.slice(1));
  } catch {
    throw new NearcastError("BAD_PATH", "the path must be percent-encoded UTF-8");
  }
  if (/%2f/i.test(path)) throw new NearcastError("BAD_PATH", "the path must not have an encoded slash (%2F)");
  const parsed = parseName(prefix + decoded);
  if (!parsed.ok) throw new NearcastError("BAD_PATH", parsed.reason);
  return parsed.name;
}

/** The host that a request names; a bare address means the first `images` host, so that one `curl` works at once. */
function pickHost(document: Fleet, authority = hostOfNone): Host {
  const name = hostOf(authority);
  if (name === null) throw new NearcastError("BAD_REQUEST", "the request needs a valid Host field");
  const found = hostsOf(document).get(name);
  if (found !== undefined) return found;
  const isBare = name === "localhost" || isIP(name.replace(/^\[|\]$/g, "")) !== 0;
  const first = isBare ? (document.hosts.find((host) => host.kind === "images") ?? document.hosts[0]) : undefined;
  if (first === undefined)
    throw new NearcastError("UNKNOWN_HOST", `the host "${name.slice(0, 253)}" is not served here`);
  return first;
}

/** The host with this name, whatever its case and final dot. */
export function hostNamed(document: Fleet, name: string): Host | undefined {
  return hostsOf(document).get(canonicalName(name));
}

/** Hosts by name, read once per document: documents never change. */
const hostsByDocument = new WeakMap<Fleet, ReadonlyMap<string, Host>>();

function hostsOf(document: Fleet): ReadonlyMap<string, Host> {
  let hosts = hostsByDocument.get(document);
  if (hosts === undefined) {
    hosts = new Map(document.hosts.map((host) => [canonicalName(host.name), host]));
    hostsByDocument.set(document, hosts);
  }
  return hosts;
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

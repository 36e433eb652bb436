/**
 * Reads the requests of other nodes for peer-app.ts: roles, hosts, sources, variants, targets. It refuses anything that
 * is not exactly as our own nodes write it. Pure, except contextFor().
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { parseName } from "#base/source-name.ts";
import type { Fleet } from "#document/document.ts";
import type { AssetsHost, Host, ImagesHost } from "#document/schema/hosts.ts";
import { fieldOf } from "../fetch/asset.ts";
import type { WantedVariant } from "../serve/render.ts";
import type { NamedVariant } from "../serve/replication.ts";
import type { RequestContext } from "../serve/request-context.ts";
import { fieldNames, readKnown, readNetwork, type Role } from "../serve/wire.ts";
import { parseCanonicalForm } from "../variant/key.ts";
import { contextOf } from "./context.ts";
import { parseTarget } from "./target.ts";
import { hostNamed } from "./understand.ts";

/** The fleet document in force. @throws NearcastError NOT_READY while there is none */
export function documentOf(fleet: () => Fleet | null): Fleet {
  const document = fleet();
  if (document === null) throw new NearcastError("NOT_READY", "this node has no fleet document yet");
  return document;
}

/** The role in which the asker asks this node. @throws NearcastError BAD_REQUEST */
export function roleOf<Allowed extends Role>(request: FastifyRequest, allowed: readonly Allowed[]): Allowed {
  const text = fieldOf(request.headers, fieldNames.role);
  const role = allowed.find((one) => one === text);
  if (role === undefined)
    throw new NearcastError("BAD_REQUEST", `${fieldNames.role} must be one of ${allowed.join(", ")}`);
  return role;
}

/** Hashes of the sources that the asker already has. @throws NearcastError BAD_REQUEST */
export function knownOf(request: FastifyRequest): readonly string[] {
  const known = readKnown(request.headers);
  if (known === undefined) throw new NearcastError("BAD_REQUEST", `${fieldNames.known} must be a list of hashes`);
  return known;
}

/** A context for the client whose network the asker names. An older release names none, and counts as the client. */
export function contextFor(request: FastifyRequest, reply: FastifyReply, clock: Clock): RequestContext {
  const network = readNetwork(request.headers);
  if (network === undefined)
    throw new NearcastError("BAD_REQUEST", `${fieldNames.network} must be a /24 or a /56 such as 192.0.2.0/24`);
  const context = contextOf(request.raw, reply.raw, request.id, clock);
  return network === null ? context : { ...context, clientNetwork: network };
}

/** The host with this name. @throws NearcastError UNKNOWN_HOST, also if the host is of the other kind */
export function hostOfKind(document: Fleet, name: string, kind: "images"): ImagesHost;
export function hostOfKind(document: Fleet, name: string, kind: "assets"): AssetsHost;
export function hostOfKind(document: Fleet, name: string, kind: Host["kind"]): Host {
  const host = hostNamed(document, name);
  // The asker's document may be newer or older than ours.
  if (host?.kind !== kind) throw new NearcastError("UNKNOWN_HOST", `"${name}" is not a host of kind ${kind} here`);
  return host;
}

/** The source that a query names, which must belong to its host. @throws NearcastError UNKNOWN_HOST, BAD_PATH */
export function readSource(document: Fleet, { host: hostName, name: text }: { host: string; name: string }) {
  const host = hostOfKind(document, hostName, "images");
  const parsed = parseName(text);
  if (!parsed.ok || parsed.name !== text || !text.startsWith(host.sourcePrefix)) {
    throw new NearcastError("BAD_PATH", "the path must name a source of this host");
  }
  return { host, name: parsed.name };
}

/** The variant that a query names. @throws NearcastError as readSource(), and BAD_PARAMETER */
export function readVariant(document: Fleet, named: NamedVariant): WantedVariant {
  const variant = parseCanonicalForm(named.variant);
  if (variant === undefined) throw new NearcastError("BAD_PARAMETER", "the query must be a variant in canonical form");
  return { ...readSource(document, named), variant };
}

/** Null: not usable here, for example because only a newer document has the host. */
export function readKnownVariant(document: Fleet, named: NamedVariant): WantedVariant | null {
  try {
    return readVariant(document, named);
  } catch {
    return null; // it throws only refusals
  }
}

/** Path and query of the asset. @throws NearcastError 4xx */
export function targetOf(request: FastifyRequest): string {
  const text = fieldOf(request.headers, fieldNames.target) ?? "";
  if (!text.startsWith("/")) throw new NearcastError("BAD_REQUEST", `${fieldNames.target} must begin with a slash`);
  const parsed = parseTarget(text);
  if (parsed.outcome === "rejected") throw new NearcastError(parsed.code, parsed.reason);
  return parsed.path + (parsed.query === "" ? "" : `?${parsed.query}`);
}

/** The listeners of an edge's HTTP applications. */
import type { FastifyInstance } from "fastify";
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenFailure } from "#base/listen-failure.ts";
import { connectionsFor } from "#base/open-files.ts";
import { laneTlsMissing } from "../../front/lane/lanes.ts";
import type { SharedReady } from "../../front/lane/running-lane.ts";
import type { Hits } from "../../http/hits.ts";
import type { Http2Counts } from "../../http2/counts.ts";
import {
  connectionsMost,
  type FrontOptions,
  hurriedMs,
  type Listener,
  listen,
  type ListenOptions,
} from "../../http/listener.ts";
import type { EdgeConfig } from "../../config.ts";
import { presenceTold } from "../presence.ts";
import type { EdgeSetup } from "../setup.ts";
import { openClientLanes } from "./client-lanes.ts";
import type { TlsPart } from "./tls.ts";

/**
 * What responses in progress have when the node stops accepting connections: as long as a whole drain, so that one that
 * begins at its end has no less than one that begins with it.
 */
export function responseGraceMs({ drainMs }: Pick<EdgeConfig, "drainMs">): number {
  return Math.max(hurriedMs, drainMs);
}

/** A connection that a lane lends needs a pair of sockets besides its own. */
const descriptorsPerLent = 3;

/** What answers clients: hits at once, and the application for everything else. */
export interface ClientSide {
  readonly edgeApp: FastifyInstance;
  readonly hits: Hits;
  /** Responses that lanes may send; undefined: there will be no lanes. */
  readonly ready: SharedReady | undefined;
  readonly http2Counts: Http2Counts;
  /** Called for each new connection. */
  readonly accepted: () => void;
  /** Null: no HTTPS. */
  readonly tls: Pick<TlsPart, "acceptor" | "forLanes"> | null;
}

type Protocols = Pick<FrontOptions, "tls" | "http2">;

export interface ClientListener extends Listener {
  readonly isSecure: boolean;
}

/**
 * Listens for clients on all configured endpoints.
 * @param listeners each one is added as soon as it listens
 * @throws NearcastError CANNOT_LISTEN
 */
export async function listenForClients(
  setup: EdgeSetup,
  { edgeApp, hits, ready, http2Counts, accepted, tls }: ClientSide,
  listeners: ClientListener[],
): Promise<void> {
  const { config, process, lifecycle, parts, clock, log } = setup;
  const noLaneTls = tls === null ? undefined : laneTlsMissing();
  const lanes = await openClientLanes(setup, ready, noLaneTls === undefined ? tls?.forLanes : undefined);
  if (lanes !== undefined && noLaneTls !== undefined) {
    log.info({ reason: noLaneTls }, "lanes can't serve HTTPS here: the main thread owns these connections");
    parts.lanesAbsent = `HTTPS: ${noLaneTls}`;
  }
  const isLeaving = (): boolean => presenceTold(setup) === "draining";
  const http2 = { answer: hits.http2, counts: http2Counts, isLeaving };
  const clear: Protocols = {};
  const secure: Protocols = tls === null ? {} : { tls: tls.acceptor, http2 };
  const endpoints = [
    ...config.http.map((endpoint) => ({ endpoint, protocols: clear, lanes, isSecure: false })),
    ...(tls === null ? [] : (config.https?.addresses ?? [])).map((endpoint) => {
      return { endpoint, protocols: secure, lanes: noLaneTls === undefined ? lanes : undefined, isSecure: true };
    }),
  ];
  // All at once: none of them accepts while another one waits for its responses.
  lifecycle.defer("listeners", async () => {
    const close = ({ close: one }: Listener): Promise<void> => one(responseGraceMs(config), parts.hurried.signal);
    await Promise.all(listeners.map(close));
  });
  const shares = endpoints.reduce((sum, { lanes: own }) => sum + (own === undefined ? 1 : descriptorsPerLent), 0);
  for (const { endpoint, protocols, lanes: own, isSecure } of endpoints) {
    const listener = await listenOn(endpoint, edgeApp, {
      reusePort: process.sharesPorts,
      front: { answer: hits.front, clock, ...protocols },
      lanes: own,
      bytesPerSecondMin: config.delivery.bytesPerSecondMin,
      connectionsMax: connectionsFor(shares, connectionsMost),
      accepted,
    });
    listeners.push({ ...listener, isSecure });
  }
}

/** @throws NearcastError CANNOT_LISTEN */
export async function listenOn(
  endpoint: { host: string; port: number },
  app: FastifyInstance,
  options: ListenOptions = {},
): Promise<Listener> {
  try {
    await app.ready();
    const route = (request: IncomingMessage, response: ServerResponse): void => {
      app.routing(request, response);
    };
    return await listen(endpoint.host, endpoint.port, route, options);
  } catch (error) {
    throw listenFailure("HTTP", endpoint, error);
  }
}

/** The listeners of an edge's HTTP applications. */
import type { FastifyInstance } from "fastify";
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenFailure } from "#base/listen-failure.ts";
import { connectionsFor } from "#base/open-files.ts";
import type { Answer } from "../../front/connection.ts";
import { connectionsMost, type Listener, listen, type ListenOptions } from "../../http/listener.ts";
import type { TlsAcceptor } from "../../tls/acceptor.ts";
import type { EdgeSetup } from "../setup.ts";

const requestGraceMs = 3000;

/** What answers clients: hits for the front, and the application for everything else. */
export interface ClientSide {
  readonly edgeApp: FastifyInstance;
  readonly hits: Answer;
  /** Called for each new connection. */
  readonly accepted: () => void;
  /** Null: no HTTPS. */
  readonly tls: TlsAcceptor | null;
}

export interface ClientListener extends Listener {
  readonly isSecure: boolean;
}

/**
 * Listens for clients on all configured endpoints.
 * @param listeners each one is added as soon as it listens
 * @throws NearcastError CANNOT_LISTEN
 */
export async function listenForClients(
  { config, process, lifecycle, clock }: EdgeSetup,
  { edgeApp, hits, accepted, tls }: ClientSide,
  listeners: ClientListener[],
): Promise<void> {
  const endpoints = [
    ...config.http.map((endpoint) => ({ endpoint, ofTls: {}, isSecure: false })),
    ...(tls === null ? [] : (config.https?.addresses ?? [])).map((endpoint) => {
      return { endpoint, ofTls: { tls: tls as TlsAcceptor }, isSecure: true };
    }),
  ];
  for (const { endpoint, ofTls, isSecure } of endpoints) {
    const listener = await listenOn(endpoint, edgeApp, {
      reusePort: process.sharesPorts,
      front: { answer: hits, clock, ...ofTls },
      connectionsMax: connectionsFor(endpoints.length, connectionsMost),
      accepted,
    });
    listeners.push({ ...listener, isSecure });
    lifecycle.defer(`listener ${endpoint.host}:${listener.port}`, () => listener.close(requestGraceMs));
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

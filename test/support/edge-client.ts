/**
 * Clients of an edge: one that reads its response to the end, and ones that hardly read or never do. Each connects from
 * a loopback address of its choice, and so belongs to a client network of its own.
 */
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export interface Got {
  status: number;
  headers: IncomingHttpHeaders;
  lengthBytes: number;
  /** Since the request was sent. */
  headMs: number;
  firstByteMs: number;
  endMs: number;
}

export interface Wanted {
  /** Of the edge: `http://ADDRESS:PORT`. */
  url: string;
  host: string;
  path: string;
  method?: string;
  headers?: Readonly<Record<string, string>>;
  /** The client's own address. */
  from?: string;
  /** Called for each chunk of the body, with the time since the request was sent. */
  onChunk?: (chunk: Buffer, sinceMs: number) => void;
  signal?: AbortSignal;
}

/** A request on a connection of its own. Rejects when the connection fails or the response is cut. */
export function get({ url, host, path, method, headers, from, onChunk, signal }: Wanted): Promise<Got> {
  const beganMs = performance.now();
  const sinceMs = (): number => performance.now() - beganMs;
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${url}${path}`,
      {
        agent: false,
        method: method ?? "GET",
        headers: { ...headers, host },
        ...(from === undefined ? {} : { localAddress: from }),
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const got = { status: response.statusCode ?? 0, headers: response.headers, lengthBytes: 0, headMs: sinceMs() };
        let firstByteMs = Number.NaN;
        response.on("data", (chunk: Buffer) => {
          if (got.lengthBytes === 0) firstByteMs = sinceMs();
          got.lengthBytes += chunk.length;
          onChunk?.(chunk, sinceMs());
        });
        response.on("end", () => {
          resolve({ ...got, firstByteMs, endMs: sinceMs() });
        });
        response.on("error", reject);
      },
    );
    request.on("error", reject).end();
  });
}

/** Sends requests for these paths, all at once, on one connection, and reads nothing. The caller destroys it. */
export async function sendAndNeverRead(
  { url, host, from }: Pick<Wanted, "url" | "host" | "from">,
  paths: readonly string[],
): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const socket = connect({ host: hostname, port: Number(port), ...(from === undefined ? {} : { localAddress: from }) });
  socket.pause();
  socket.on("error", reject).on("connect", () => {
    resolve(undefined);
  });
  await promise;
  socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`).join(""));
  return socket;
}

/** Takes about this many bytes of each connection each second, until the signal. */
export async function readSlowly(
  sockets: readonly Socket[],
  bytesPerSecond: number,
  signal: AbortSignal,
): Promise<{ bytes: number }> {
  let bytes = 0;
  while (!signal.aborted) {
    for (const socket of sockets) {
      const chunk = socket.read(Math.min(bytesPerSecond, socket.readableLength)) as Buffer | null;
      bytes += chunk?.length ?? 0;
    }
    await pause(1000, undefined, { signal }).catch(() => undefined);
  }
  return { bytes };
}

export interface Bystander {
  /** Ends it, and returns the times of all its requests, in order of time taken, and what failed. */
  stop: () => Promise<{ count: number; failures: readonly string[]; p50Ms: number; p99Ms: number; slowestMs: number }>;
}

/** Another client, who goes on requesting while others do their worst. `wanted` gets the number of the request. */
export function startBystander(wanted: (number: number) => Wanted, perSecond: number): Bystander {
  const timesMs: number[] = [];
  const failures: string[] = [];
  const open = new Set<Promise<void>>();
  const over = new AbortController();
  const send = async (number: number): Promise<void> => {
    const one = wanted(number);
    try {
      const { status, endMs } = await get({ ...one, signal: AbortSignal.timeout(20_000) });
      timesMs.push(endMs);
      if (status !== 200) failures.push(`${one.path}: status ${status}`);
    } catch (error) {
      failures.push(`${one.path}: ${String(error)}`);
    }
  };
  const running = (async () => {
    for (let number = 0; !over.signal.aborted; number += 1) {
      const sent: Promise<void> = send(number).finally(() => open.delete(sent));
      open.add(sent);
      await pause(1000 / perSecond, undefined, { signal: over.signal }).catch(() => undefined);
    }
    await Promise.all(open);
  })();
  return {
    async stop() {
      over.abort();
      await running;
      const sorted = timesMs.toSorted((a, b) => a - b);
      const at = (part: number): number => sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN;
      return { count: sorted.length, failures, p50Ms: at(0.5), p99Ms: at(0.99), slowestMs: at(1) };
    },
  };
}

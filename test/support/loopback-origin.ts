/** An HTTP origin on loopback that says what a test tells it to, and keeps what it was asked. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, Server as SocketServer } from "node:net";
import type { TestContext } from "node:test";

export interface AskedRequest {
  method: string;
  target: string;
  headers: IncomingHttpHeaders;
}

/** `number` counts from 1. The answer must be ended, or cut, by the script. */
export type Script = (request: AskedRequest, response: ServerResponse, number: number) => void | Promise<void>;

export interface LoopbackOrigin {
  url: string;
  port: number;
  asked: AskedRequest[];
  /** What it answers from now on. */
  script: (script: Script) => void;
  /** Refuses connections, until start(). */
  stop: () => Promise<void>;
  start: () => Promise<void>;
  /** Refuses new connections. Those that are open stay. */
  close: () => void;
}

export async function startLoopbackOrigin(t: TestContext, first: Script): Promise<LoopbackOrigin> {
  let current = first;
  const asked: AskedRequest[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = "", url = "", headers } = request;
    asked.push({ method, target: url, headers });
    await current({ method, target: url, headers }, response, asked.length);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy());
  });
  const listen = (port: number): Promise<void> =>
    new Promise((resolve) => {
      server.listen(port, "127.0.0.1", resolve);
    });
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => {
        resolve();
      });
      server.closeAllConnections();
    });
  await listen(0);
  t.after(stop);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    asked,
    script(next) {
      current = next;
    },
    stop,
    start: () => listen(port),
    close() {
      SocketServer.prototype.close.call(server);
    },
  };
}

/** A script that always gives this answer. */
export function answering(
  status: number,
  headers: Readonly<Record<string, string | readonly string[]>>,
  body: string | Buffer = "",
): Script {
  return (_request, response) => {
    response.writeHead(
      status,
      Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name, typeof value === "string" ? value : [...value]]),
      ),
    );
    response.end(body);
  };
}

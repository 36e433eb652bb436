/**
 * An HTTP/1.1 origin on the loopback that says exactly what a test wrote down for a path, byte for byte, and keeps
 * what it was asked. Its Date is the test's clock's, so that ages are right when that clock is moved.
 */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

export interface Said {
  status?: number;
  /** Field lines in order; a name may come several times. `Date` is added unless `date` says otherwise. */
  fields?: readonly (readonly [name: string, value: string])[];
  body?: string | Buffer;
  /** `null`: no Date at all. */
  date?: string | null;
  /** `length`: Content-Length (the default); `chunked`: none. */
  framing?: "length" | "chunked";
  /** Closes the connection after so many bytes of the body, in the midst of the answer. */
  breaksOffAfterBytes?: number;
  /** The body waits for this behind its first byte. */
  restAfter?: Promise<unknown>;
}

export interface Asked {
  method: string;
  target: string;
  fields: IncomingHttpHeaders;
}

/** What to say: always the same, or by the request and its number (0 is the path's first). */
export type Script = Said | ((asked: Asked, turn: number) => Said | Promise<Said>);

export interface Held {
  /** Resolves when `count` requests wait here. */
  arrived: (count?: number) => Promise<void>;
  /** Lets all that wait, and all that come later, have their answer. */
  release: () => void;
  script: Script;
}

export interface ScriptedOrigin {
  url: string;
  /** Sets what a target (path and query) is answered; all others are 404 without a body. */
  say: (target: string, script: Script) => void;
  /** What was asked for a target, oldest first. */
  asked: (target: string) => readonly Asked[];
  /** Refuses connections until `resume`. */
  refuse: () => Promise<void>;
  resume: () => Promise<void>;
}

export async function startScriptedOrigin(t: TestContext, wallMs: () => number): Promise<ScriptedOrigin> {
  const scripts = new Map<string, Script>();
  const seen = new Map<string, Asked[]>();
  const answer = async (asked: Asked, response: ServerResponse): Promise<void> => {
    const before = seen.get(asked.target) ?? [];
    seen.set(asked.target, [...before, asked]);
    const script = scripts.get(asked.target) ?? { status: 404 };
    const said = typeof script === "function" ? await script(asked, before.length) : script;
    await send(asked, response, said, wallMs());
  };
  let server: Server | undefined;
  const listen = async (port: number): Promise<number> => {
    server = createServer({ keepAlive: true }, (request, response) => {
      const { method = "", url: target = "", headers: fields } = request;
      // A script that fails, or a client that went away, shows as a break on the edge's side.
      answer({ method, target, fields }, response).catch(() => response.destroy());
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  };
  const close = async (): Promise<void> => {
    const closing = server;
    server = undefined;
    if (closing === undefined) return;
    const closed = once(closing, "close");
    closing.close();
    closing.closeAllConnections();
    await closed;
  };
  const port = await listen(0);
  t.after(close);
  return {
    url: `http://127.0.0.1:${port}`,
    say: (target, script) => scripts.set(target, script),
    asked: (target) => seen.get(target) ?? [],
    refuse: close,
    async resume() {
      await listen(port);
    },
  };
}

async function send(asked: Asked, response: ServerResponse, said: Said, nowMs: number): Promise<void> {
  const { status = 200, body = "", date = new Date(nowMs).toUTCString(), framing = "length" } = said;
  const bytes = Buffer.from(body);
  const lines = (said.fields ?? []).flatMap(([name, value]) => [name, value]);
  if (date !== null) lines.push("Date", date);
  const hasBody = status !== 204 && status !== 304;
  if (framing === "length" && hasBody) lines.push("Content-Length", String(bytes.length));
  response.sendDate = false;
  response.writeHead(status, lines);
  if (said.restAfter !== undefined) {
    response.write(bytes.subarray(0, 1));
    await said.restAfter;
    response.end(bytes.subarray(1));
    return;
  }
  if (said.breaksOffAfterBytes === undefined) {
    response.end(asked.method === "HEAD" || !hasBody ? undefined : bytes);
    return;
  }
  response.flushHeaders();
  await new Promise((resolve) => response.write(bytes.subarray(0, said.breaksOffAfterBytes), resolve));
  response.destroy();
}

/** A script that keeps who asks waiting until the test lets go. */
export function held(script: Script): Held {
  let count = 0;
  const gate = Promise.withResolvers<void>();
  const waiting: { count: number; resolve: () => void }[] = [];
  return {
    arrived(wanted = 1) {
      const { promise, resolve } = Promise.withResolvers<void>();
      if (count >= wanted) resolve();
      else waiting.push({ count: wanted, resolve });
      return promise;
    },
    release: gate.resolve,
    async script(asked, turn) {
      count += 1;
      for (const one of waiting) if (count >= one.count) one.resolve();
      await gate.promise;
      return typeof script === "function" ? await script(asked, turn) : script;
    },
  };
}

/**
 * A listener with a front whose answers a test knows: by their path, requests are hits, are answered later by the
 * test, or are left to an application that echoes, or holds them until the test answers.
 */
import assert from "node:assert/strict";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { test as testOnce, type TestContext } from "node:test";
import type { ClientConnection } from "../../../node/front/client-connection.ts";
import type { Answer, FrontRequest } from "../../../node/front/connection.ts";
import type { Lanes } from "../../../node/front/lane/lanes.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { sharedLanes } from "../../support/shared-lanes.ts";
import { turnsUntil } from "../../support/turns-until.ts";

export interface Held {
  asked: IncomingMessage;
  response: ServerResponse;
}

export interface Later {
  request: FrontRequest;
  target: string;
  resolve: (answer: "relay" | "sent") => void;
  reject: (error: Error) => void;
}

export interface Fronted {
  listener: Listener;
  clock: FakeClock;
  /** Who answers which target, in order of their beginning: `front /hit/1`, `server /a`. */
  seen: string[];
  /** Bytes that were read from a connection beyond those of requests that have begun: the most so far. */
  waitingMost: () => number;
  /** The next request that the application holds (`…/held…`). */
  held: () => Promise<Held>;
  /** The next request that the front answers later (`/later…`). */
  later: () => Promise<Later>;
  /** Connections of Node's server that were not closed yet. */
  relays: () => number;
  /** Waits until no connection is open on either side of the front. */
  nothingLeft: () => Promise<void>;
}

/** Sends a response of the front's own. */
export function sendHit({ head, sink }: FrontRequest, body: Buffer): "sent" | Promise<"sent"> {
  sink.head(200, ["Content-Length", String(body.length), "X-By", "front"]);
  sink.end(head.isHead ? undefined : body);
  return sink.pendingBytes() === 0 ? "sent" : sink.closed().then(() => "sent");
}

interface FrontedOptions {
  check?: number;
  application?: RequestListener;
  connectionsMax?: number;
}

/** The lanes of the tests in which these accept the connections, instead of the main thread. */
const lanesOf = new WeakMap<TestContext, Lanes>();

/**
 * Twice node:test's test(): the main thread accepts the connections, or a lane does.
 * @param rest options.notInLane: why the test is about the main thread alone
 */
export function test(
  name: string,
  ...rest:
    [options: { notInLane: string }, run: (t: TestContext) => Promise<void>] | [run: (t: TestContext) => Promise<void>]
): void {
  const [options, run] = rest.length === 2 ? rest : [undefined, rest[0]];
  testOnce(name, run);
  if (options !== undefined) return;
  testOnce(`${name}; in a lane`, async (t) => {
    const lanes = await sharedLanes(t);
    if (lanes === undefined) return;
    lanesOf.set(t, lanes);
    await run(t);
  });
}

export async function startFronted(t: TestContext, options: FrontedOptions = {}): Promise<Fronted> {
  const clock = fakeClock();
  const seen: string[] = [];
  const heldOnes: Held[] = [];
  const laterOnes: Later[] = [];
  const clients = new Set<ClientConnection>();
  const relays = new Set<object>();
  const begunBytes = new WeakMap<ClientConnection, number>();
  let waitingMost = 0;

  const answer: Answer = (request) => {
    const { bytes, head, socket } = request;
    const target = bytes.toString("latin1", head.targetStart, head.targetEnd);
    clients.add(socket);
    const begun = (begunBytes.get(socket) ?? 0) + head.lengthBytes;
    begunBytes.set(socket, begun);
    waitingMost = Math.max(waitingMost, socket.bytesRead - begun);
    if (target.startsWith("/hit")) {
      seen.push(`front ${target}`);
      return sendHit(request, Buffer.from(target));
    }
    if (target.startsWith("/large/")) {
      seen.push(`front ${target}`);
      return sendHit(request, Buffer.alloc(Number(target.slice(7)), "abcdefg"));
    }
    if (!target.startsWith("/later")) return "relay";
    const { promise, resolve, reject } = Promise.withResolvers<"relay" | "sent">();
    laterOnes.push({ request, target, resolve, reject });
    return promise;
  };

  const echo: RequestListener = (asked, response) => {
    const { url = "", socket } = asked;
    if (!relays.has(socket)) socket.once("close", () => relays.delete(socket));
    relays.add(socket);
    seen.push(`server ${url}`);
    if (url.includes("/held")) {
      heldOnes.push({ asked, response });
      return;
    }
    if (options.application !== undefined) {
      options.application(asked, response);
      return;
    }
    const body = asked.method === "HEAD" ? undefined : url;
    response.writeHead(200, { "Content-Length": String(url.length), "X-By": "server" }).end(body);
  };

  const listener = await listen("127.0.0.1", 0, echo, {
    front: { answer, clock },
    ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
    lanes: lanesOf.get(t),
    headers: 10_000,
    check: options.check ?? 5000,
  });
  t.after(() => listener.close(0));
  return {
    listener,
    clock,
    seen,
    waitingMost: () => waitingMost,
    held: async () => await nextOf(heldOnes),
    later: async () => await nextOf(laterOnes),
    relays: () => relays.size,
    nothingLeft: async () => {
      await turnsUntil(() => relays.size === 0 && [...clients].every(({ closed }) => closed));
    },
  };
}

async function nextOf<T>(list: T[]): Promise<T> {
  await turnsUntil(() => list.length > 0);
  const [first] = list.splice(0, 1);
  assert.ok(first !== undefined);
  return first;
}

/** A request without other fields. */
export function get(target: string, ...lines: string[]): string {
  return [`GET ${target} HTTP/1.1`, "Host: x", ...lines, "", ""].join("\r\n");
}

/** So that a write arrives by itself, as far as loopback connections and another thread allow. */
export async function turns(count = 3): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setTimeout(resolve, 1));
}

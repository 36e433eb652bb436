/**
 * A listener for HTTP/2 whose answers a test knows: `/hit…` is answered at once, `/large/N` by N bytes
 * from memory under the rules for slow clients, and everything else by an application.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { TestContext } from "node:test";
import { deliver } from "../../../node/deliver/deliver.ts";
import type { TransferRules } from "../../../node/deliver/transfer.ts";
import type { Lanes } from "../../../node/front/lane/lanes.ts";
import { type Listener, listen } from "../../../node/http/listener.ts";
import type { AnswerPlain } from "../../../node/http2/connection.ts";
import type { TlsAcceptor } from "../../../node/tls/acceptor.ts";
import { createHttp2Counts, type Http2Counts } from "../../../node/http2/counts.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { openTransfers } from "../../support/transfers.ts";
import { turnsUntil } from "../../support/turns-until.ts";

export interface Held {
  request: IncomingMessage;
  response: ServerResponse;
}

export interface Started {
  listener: Listener;
  clock: FakeClock;
  transfers: TransferRules;
  counts: Http2Counts;
  /** Whether clients are to go elsewhere. */
  leaving: { isSo: boolean };
  /** The targets, in the order in which requests begin: `hit /hit/1`, `server /a`. */
  seen: string[];
  /** The next request that the application holds (`…/held…`). */
  held: () => Promise<Held>;
  /** Connections of Node's server that are open. */
  virtuals: () => number;
}

export async function startHttp2(
  t: TestContext,
  options: {
    application?: RequestListener;
    connectionsMax?: number;
    inFlightBytes?: number;
    /** Connections begin with a handshake, and use HTTP/2 if that is negotiated. */
    tls?: Pick<TlsAcceptor, "accept">;
    /** These have the connections of clients, and speak HTTP/2: the application answers all requests. */
    lanes?: Lanes | undefined;
  } = {},
): Promise<Started> {
  const { application, connectionsMax, inFlightBytes, tls, lanes } = options;
  const clock = fakeClock();
  const transfers = openTransfers(clock, inFlightBytes === undefined ? {} : { bytesMax: inFlightBytes });
  const seen: string[] = [];
  const heldOnes: Held[] = [];
  const virtuals = new Set<object>();
  const counts = createHttp2Counts();
  const leaving = { isSo: false };

  const answer: AnswerPlain = ({ plain, sink }) => {
    const { method, target } = plain;
    const large = /^\/large\/(\d+)/.exec(target);
    if (!target.startsWith("/hit") && large === null) return "relay";
    seen.push(`hit ${target}`);
    const bytes = large === null ? Buffer.from(target) : Buffer.alloc(Number(large[1]), "abcdefg");
    const delivery = {
      outcome: { word: "hit", tier: "memory", ttlSeconds: 60 },
      status: 200,
      headerBlock: Buffer.from("X-By: hit\r\n"),
      headers: [],
      etag: null,
      lastModified: null,
      lengthBytes: bytes.length,
      ageSeconds: 0,
      timings: {},
      body: { kind: "bytes", bytes },
    } as const;
    const context = { node: "n1", startedMs: 0, nowMs: 0, rules: transfers, share: () => "192.0.2.0/24" };
    const sent = deliver({ method, headers: {} }, delivery, sink, context);
    return sent instanceof Promise ? sent.then(() => "sent" as const) : "sent";
  };

  const echo: RequestListener = (request, response) => {
    const { url = "", socket } = request;
    seen.push(`server ${url}`);
    virtuals.add(socket);
    socket.once("close", () => virtuals.delete(socket));
    const large = /^\/large\/(\d+)/.exec(url);
    if (large !== null) response.end(Buffer.alloc(Number(large[1]), "abcdefg"));
    else if (url.includes("/held")) heldOnes.push({ request, response });
    else if (application !== undefined) application(request, response);
    else {
      const body = `${request.method} ${url}`;
      response.writeHead(200, { "Content-Length": body.length, "X-By": "server" }).end(body);
    }
  };

  const listener = await listen("127.0.0.1", 0, echo, {
    front: {
      answer: () => "relay",
      http2: { answer, counts, isLeaving: () => leaving.isSo },
      clock,
      ...(tls === undefined ? { isAlwaysHttp2: true } : { tls }),
    },
    lanes,
    ...(connectionsMax === undefined ? {} : { connectionsMax }),
  });
  t.after(() => listener.close(0));
  return {
    listener,
    clock,
    transfers,
    counts,
    leaving,
    seen,
    async held() {
      await turnsUntil(() => heldOnes.length > 0);
      return heldOnes.shift() as Held;
    },
    virtuals: () => virtuals.size,
  };
}

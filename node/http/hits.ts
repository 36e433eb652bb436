/**
 * Serves hits: a response that is fresh, and in memory or in the page cache, is sent in the turn in which its request
 * arrives. Everything else is left to the application (app.ts), which decides in the same way.
 *
 * Over HTTP/1.1, a small response that was requested before is sent without a decision (ready-hits.ts).
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Clock } from "#base/clock.ts";
import { clientNetworkOf } from "#base/client-network.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { Host } from "#document/schema/hosts.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import { probePath } from "#health/prober.ts";
import { deliver, holdUntilTaken, type Sent } from "../deliver/deliver.ts";
import type { Delivery, Outcome } from "../deliver/outcome.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import type { Sink } from "../deliver/sink.ts";
import type { Answer, FrontRequest } from "../front/connection.ts";
import { fieldIn, fieldsIn, isConditional } from "../front/request-head.ts";
import type { AnswerPlain } from "../http2/connection.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import type { Presence, ServedRequest } from "./app.ts";
import { overTls } from "./https-policy.ts";
import type { ReadyHits } from "./ready-hits.ts";
import { type Asked, type Order, rememberOrders } from "./understand.ts";

export interface HitsParts {
  node: string;
  images: Pick<ImageServer, "serveNow">;
  assets: Pick<AssetServer, "serveNow">;
  fleet: () => { document: Fleet } | null;
  presence: () => Presence;
  /** Whether a purged object could still be found. */
  isGated: () => boolean;
  ready: ReadyHits;
  transfers: TransferRules;
  served: (request: ServedRequest) => void;
  load: LoadMeter;
  clock: Clock;
  log: Log;
}

/** Both answer a request, or decline it. */
export interface Hits {
  readonly front: Answer;
  readonly http2: AnswerPlain;
}

/** A request without a body, and without fields that the application has rules for. */
interface PlainRequest {
  readonly asked: Asked;
  /** All noted fields (front/request-head.ts), if the response may be a part, a 304 or a 412; otherwise none. */
  readonly conditions: IncomingHttpHeaders;
  /** Whether it came over TLS. */
  readonly isSecure: boolean;
  /** The network that pays for it. */
  readonly share: () => string;
  readonly sink: Sink;
}

const noConditions: IncomingHttpHeaders = {};

export function createHits(parts: HitsParts): Hits {
  const { fleet, presence, isGated, ready, clock } = parts;
  const understandOften = rememberOrders();
  let ofDocument: Fleet | undefined;
  /** Undefined: all requests are left to the application now. */
  const currentDocument = (): Fleet | undefined => {
    const current = fleet();
    if (current === null || presence() !== "ready" || isGated()) return undefined;
    const { document } = current;
    if (document !== ofDocument) ready.outdate();
    ofDocument = document;
    return document;
  };
  return {
    front(request) {
      const document = currentDocument();
      if (document === undefined) return "relay";
      const answered = answerReady(parts, request);
      if (answered !== undefined) return answered;
      const offer = (host: Host, delivery: Delivery): void => {
        ready.offer(request, host, delivery, clock.wallMs());
      };
      return answerFound(parts, plainOf(request), (asked) => understandOften(document, asked), offer);
    },
    http2({ plain, remoteAddress, encrypted, sink }) {
      const document = currentDocument();
      if (document === undefined) return "relay";
      const { method, target, host, accept, fields } = plain;
      const asked = { method, target, host, accept, fields: () => fields };
      const conditions = plain.isConditional ? fields : noConditions;
      const share = (): string => clientNetworkOf(remoteAddress);
      const request = { asked, conditions, isSecure: encrypted, share, sink };
      return answerFound(parts, request, (one) => understandOften(document, one));
    },
  };
}

function plainOf({ bytes, head, socket, sink }: FrontRequest): PlainRequest {
  return {
    asked: {
      method: head.isHead ? "HEAD" : "GET",
      target: bytes.toString("latin1", head.targetStart, head.targetEnd),
      host: fieldIn(bytes, head, "host"),
      accept: fieldIn(bytes, head, "accept"),
      fields: () => fieldsIn(bytes, head),
    },
    conditions: isConditional(head) ? fieldsIn(bytes, head) : noConditions,
    isSecure: head.isSecure,
    share: () => clientNetworkOf(socket.remoteAddress),
    sink,
  };
}

/** Reports a ready response that another thread has sent. */
export function reportSent(
  { ready, served, load, clock }: Pick<HitsParts, "ready" | "served" | "load" | "clock">,
  [number, status, bodyBytes]: readonly [number: number, status: number, bodyBytes: number],
): void {
  const about = ready.noteSent(number);
  if (about === undefined) return;
  const { host, outcome } = about;
  load.count(clock.monotonicMs(), bodyBytes);
  served({ host: host.name, kind: host.kind, outcome, durationMs: 0, status, bodyBytes });
}

/** Answers a request whose response is ready. */
function answerReady(parts: HitsParts, request: FrontRequest): "sent" | Promise<"sent"> | undefined {
  const { ready, transfers, clock } = parts;
  const startedMs = clock.monotonicMs();
  const sent = ready.answer(request, clock.wallMs());
  if (sent === undefined) return undefined;
  const { about, status, bodyBytes, kept } = sent;
  const { host, outcome } = about;
  const { socket, sink } = request;
  const report = reporter(parts, { host, outcome, startedMs });
  const share = (): string => clientNetworkOf(socket.remoteAddress);
  const whole: Sent = { status, bodyBytes, end: "complete" };
  const ended = holdUntilTaken(whole, kept, sink, { rules: transfers, share });
  return ended instanceof Promise ? ended.then(report) : report(ended);
}

/**
 * Looks for a response, and answers with it.
 * @param delivered called with what was sent
 */
function answerFound(
  parts: HitsParts,
  { asked, conditions, isSecure, share, sink }: PlainRequest,
  understandAsked: (asked: Asked) => Order,
  delivered?: (host: Host, delivery: Delivery) => void,
): "relay" | "sent" | Promise<"relay" | "sent"> {
  const { node, transfers, clock } = parts;
  const startedMs = clock.monotonicMs();
  const { method } = asked;
  const found = find(parts, { asked, isSecure }, method === "GET" && conditions === noConditions, understandAsked);
  if (found === undefined) return "relay";
  const { host } = found.order.order;
  const delivery = isSecure ? overTls(found.delivery, host) : found.delivery;
  const report = reporter(parts, { host, outcome: delivery.outcome.word, startedMs });
  const context = { node, startedMs, nowMs: clock.monotonicMs(), rules: transfers, share };
  try {
    const sent = deliver({ method, headers: conditions }, delivery, sink, context);
    delivered?.(host, delivery);
    return sent instanceof Promise ? sent.then(report, leave) : report(sent);
  } catch {
    return leave();
  }
}

function find(
  { images, assets }: HitsParts,
  { asked, isSecure }: Pick<PlainRequest, "asked" | "isSecure">,
  isWhole: boolean,
  understandAsked: (asked: Asked) => Order,
): { order: Order; delivery: Delivery } | undefined {
  if (asked.target === probePath) return undefined;
  try {
    const order = understandAsked(asked);
    // The application redirects.
    if (order.order.host.redirectToHttps === true && !isSecure) return undefined;
    const delivery =
      order.kind === "images" ? images.serveNow(order.order, isWhole) : assets.serveNow(order.order, isWhole);
    return delivery === undefined || delivery.lengthBytes === null ? undefined : { order, delivery };
  } catch {
    return undefined; // the application fails in the same way, and reports it
  }
}

/** Reports the end of a response, once. */
function reporter(
  { served, load, clock, log }: HitsParts,
  { host, outcome, startedMs }: { host: Host; outcome: Outcome["word"]; startedMs: number },
): (sent: Sent) => "sent" {
  const nowMs = clock.monotonicMs();
  return ({ status, bodyBytes, end, error }) => {
    load.count(nowMs, bodyBytes);
    served({ host: host.name, kind: host.kind, outcome, durationMs: nowMs - startedMs, status, bodyBytes });
    if (end !== "complete") {
      log.debug({ host: host.name, end, bodyBytes, reason: error?.message }, "a response ended early");
    }
    return "sent";
  };
}

/** A response that failed here has not begun: there was no room for its bytes, or a field can't be sent. */
function leave(): "relay" {
  return "relay";
}

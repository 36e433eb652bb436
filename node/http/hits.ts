/**
 * Serves hits for the front: a response that is fresh, and in memory or in the page cache, is sent in the turn in which
 * its request arrives. Everything else is left to the application (app.ts), which decides in the same way.
 *
 * A small response that was requested before is sent without a decision (ready-hits.ts).
 */
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
import type { Answer, FrontRequest } from "../front/connection.ts";
import { fieldIn, fieldsIn, isConditional } from "../front/request-head.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import type { Presence, ServedRequest } from "./app.ts";
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

const noFields = {};

export function createHits(parts: HitsParts): Answer {
  const { fleet, presence, isGated, ready } = parts;
  const understandOften = rememberOrders();
  let ofDocument: Fleet | undefined;
  return (request) => {
    const current = fleet();
    if (current === null || presence() !== "ready" || isGated()) return "relay";
    const { document } = current;
    if (document !== ofDocument) ready.outdate();
    ofDocument = document;
    return answerReady(parts, request) ?? answerFound(parts, request, (target) => understandOften(document, target));
  };
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

/** Looks for a response, and answers with it. */
function answerFound(
  parts: HitsParts,
  request: FrontRequest,
  understandAsked: (asked: Asked) => Order,
): "relay" | "sent" | Promise<"relay" | "sent"> {
  const { node, transfers, ready, clock } = parts;
  const { bytes, head, socket, sink } = request;
  const startedMs = clock.monotonicMs();
  const method = head.isHead ? "HEAD" : "GET";
  const headers = isConditional(head) ? fieldsIn(bytes, head) : noFields;
  const found = find(parts, request, method === "GET" && headers === noFields, understandAsked);
  if (found === undefined) return "relay";
  const { delivery } = found;
  const { host } = found.order.order;
  const report = reporter(parts, { host, outcome: delivery.outcome.word, startedMs });
  const share = (): string => clientNetworkOf(socket.remoteAddress);
  const context = { node, startedMs, nowMs: clock.monotonicMs(), rules: transfers, share };
  try {
    const sent = deliver({ method, headers }, delivery, sink, context);
    ready.offer(request, host, delivery, clock.wallMs());
    return sent instanceof Promise ? sent.then(report, leave) : report(sent);
  } catch {
    return leave();
  }
}

function find(
  { images, assets }: HitsParts,
  { bytes, head }: FrontRequest,
  isWhole: boolean,
  understandAsked: (asked: Asked) => Order,
): { order: Order; delivery: Delivery } | undefined {
  const target = bytes.toString("latin1", head.targetStart, head.targetEnd);
  if (target === probePath) return undefined;
  try {
    const order = understandAsked({
      method: head.isHead ? "HEAD" : "GET",
      target,
      host: fieldIn(bytes, head, "host"),
      accept: fieldIn(bytes, head, "accept"),
      fields: () => fieldsIn(bytes, head),
    });
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

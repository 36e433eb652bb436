/**
 * Serves hits for the front: a response that is fresh, and in memory or in the page cache, is sent in the turn in which
 * its request arrives. Everything else is left to the application (app.ts), which decides in the same way.
 */
import type { Clock } from "#base/clock.ts";
import { clientNetworkOf } from "#base/client-network.ts";
import type { Log } from "#base/log.ts";
import type { Fleet } from "#document/document.ts";
import type { LoadMeter } from "#health/load-meter.ts";
import { probePath } from "#health/prober.ts";
import { deliver, type Sent } from "../deliver/deliver.ts";
import type { Delivery } from "../deliver/outcome.ts";
import type { TransferRules } from "../deliver/transfer.ts";
import type { Answer, FrontRequest } from "../front/connection.ts";
import { fieldIn, fieldsIn, isConditional } from "../front/request-head.ts";
import type { AssetServer } from "../serve/asset.ts";
import type { ImageServer } from "../serve/image.ts";
import type { Presence, ServedRequest } from "./app.ts";
import { type Order, rememberOrders } from "./understand.ts";

export interface HitsParts {
  node: string;
  images: Pick<ImageServer, "serveNow">;
  assets: Pick<AssetServer, "serveNow">;
  fleet: () => { document: Fleet } | null;
  presence: () => Presence;
  /** Whether a purged object could still be found. */
  isGated: () => boolean;
  transfers: TransferRules;
  served: (request: ServedRequest) => void;
  load: LoadMeter;
  clock: Clock;
  log: Log;
}

const noFields = {};

export function createHits(parts: HitsParts): Answer {
  const { node, images, assets, fleet, presence, isGated, transfers, served, load, clock, log } = parts;
  const understandOften = rememberOrders();

  function orderOf({ bytes, head }: FrontRequest, target: string): Order | undefined {
    const current = fleet();
    if (current === null || presence() !== "ready" || isGated() || target === probePath) return undefined;
    return understandOften(current.document, {
      method: head.isHead ? "HEAD" : "GET",
      target,
      host: fieldIn(bytes, head, "host"),
      accept: fieldIn(bytes, head, "accept"),
      fields: () => fieldsIn(bytes, head),
    });
  }

  function find(request: FrontRequest, isWhole: boolean): { order: Order; delivery: Delivery } | undefined {
    const { bytes, head } = request;
    try {
      const order = orderOf(request, bytes.toString("latin1", head.targetStart, head.targetEnd));
      if (order === undefined) return undefined;
      const delivery =
        order.kind === "images" ? images.serveNow(order.order, isWhole) : assets.serveNow(order.order, isWhole);
      return delivery === undefined || delivery.lengthBytes === null ? undefined : { order, delivery };
    } catch {
      return undefined; // the application fails in the same way, and reports it
    }
  }

  return (request) => {
    const { bytes, head, socket, sink } = request;
    const startedMs = clock.monotonicMs();
    const method = head.isHead ? "HEAD" : "GET";
    const headers = isConditional(head) ? fieldsIn(bytes, head) : noFields;
    const found = find(request, method === "GET" && headers === noFields);
    if (found === undefined) return "relay";
    const { delivery } = found;
    const { host } = found.order.order;
    const nowMs = clock.monotonicMs();
    const about = { host: host.name, kind: host.kind, outcome: delivery.outcome.word, durationMs: nowMs - startedMs };
    const report = ({ status, bodyBytes, end, error }: Sent): "sent" => {
      load.count(nowMs, bodyBytes);
      served({ ...about, status, bodyBytes });
      if (end !== "complete") {
        log.debug({ host: host.name, end, bodyBytes, reason: error?.message }, "a response ended early");
      }
      return "sent";
    };
    const share = (): string => clientNetworkOf(socket.remoteAddress);
    try {
      const sent = deliver({ method, headers }, delivery, sink, { node, startedMs, nowMs, rules: transfers, share });
      return sent instanceof Promise ? sent.then(report, leave) : report(sent);
    } catch {
      return leave();
    }
  };
}

/** A response that failed here has not begun: there was no room for its bytes, or a field can't be sent. */
function leave(): "relay" {
  return "relay";
}

/**
 * What the engine of front/http2/ needs of a lane: the lane's memory for frames, the client's channel, and the count of
 * what clients do. The output belongs to the connection whose turn it is, and is empty between two of them.
 */
import { type Allowance, openAllowance, spend } from "../../http2/allowance.ts";
import { type Connection, type Host, limits, type Stream } from "../http2/connection.ts";
import { newFieldList } from "../http2/hpack-decoder.ts";
import { plainBytesMax } from "../http2/plain-request.ts";
import { broken, isBlocked, send } from "./channel.ts";
import { count } from "./counts.ts";
import { keep } from "./hits.ts";
import { answerStream } from "./http2-answers.ts";
import { dropSource, readFileAt } from "./http2-bodies.ts";
import { partRelay } from "./http2-relays.ts";
import { copyOf, type Http2, type Lane } from "./lane.ts";
import { layout, outputBytes, recordBytesMax } from "./layout.ts";

/** Streams that clients of a network may reset, in all of its connections to this lane. */
const networkResets = { burst: 2000, perSecond: 200 };
/** Networks that have reset none for the longest time are forgotten. */
const networksMax = 10_000;

/** Every connection of a lane is one of its own. */
function ownerOf(connection: Connection): Http2 {
  return connection as Http2;
}

export function openHost(lane: Lane): NonNullable<Lane["http2"]> {
  const byNetwork = new Map<string, Allowance>();
  const host: Host = {
    output: { bytes: lane.bytes, start: layout.output, end: layout.output + outputBytes, at: layout.output },
    list: newFieldList(limits),
    flush(connection, hasMore) {
      flush(lane, host, ownerOf(connection), hasMore);
    },
    request(connection, stream) {
      count(lane.counts, "http2Streams");
      answerStream(lane, ownerOf(connection), stream);
    },
    readFile: (file, offset, at, lengthBytes) => readFileAt(lane, file, offset, at, lengthBytes),
    closed(connection, stream) {
      closed(lane, ownerOf(connection), stream);
    },
    mayReset: (connection) => mayReset(byNetwork, ownerOf(connection).client.network(), lane.nowMs),
    flooded(flood) {
      count(lane.counts, flood === "resets" ? "http2ResetFloods" : "http2FrameFloods");
    },
    malformed() {
      count(lane.counts, "http2Malformed");
    },
    nowMs: () => lane.nowMs,
  };
  return { host, text: Buffer.alloc(plainBytesMax), touched: new Set(), relays: 0, relaysByNetwork: new Map() };
}

function mayReset(byNetwork: Map<string, Allowance>, network: string, nowMs: number): boolean {
  const { burst, perSecond } = networkResets;
  const allowance = byNetwork.get(network) ?? openAllowance(burst, perSecond, nowMs);
  byNetwork.delete(network); // behind all others
  byNetwork.set(network, allowance);
  const [oldest] = byNetwork.keys();
  if (byNetwork.size > networksMax && oldest !== undefined) byNetwork.delete(oldest);
  return spend(allowance, 1, nowMs);
}

/** While more follows, TLS gets only what fills whole records. */
function flush(lane: Lane, { output }: Host, http2: Http2, hasMore: boolean): void {
  const { client } = http2;
  const lengthBytes = output.at - output.start;
  output.at = output.start;
  if (lengthBytes === 0 || http2.isBroken) return;
  const { unsent } = client;
  if (unsent !== null) {
    const before = unsent.bytes?.subarray(unsent.at) ?? Buffer.alloc(0);
    unsent.bytes = Buffer.concat([before, lane.bytes.subarray(output.start, output.start + lengthBytes)]);
    unsent.at = 0;
    lane.unsentBytes += lengthBytes;
    return;
  }
  const heldBytes = hasMore && client.secure !== null ? lengthBytes % recordBytesMax : 0;
  const sentBytes = lengthBytes - heldBytes;
  const taken = send(lane, client, output.start, sentBytes, hasMore);
  if (taken === broken) {
    http2.isBroken = true;
    http2.isBlocked = true;
    return;
  }
  if (taken === sentBytes && !isBlocked(client)) {
    lane.bytes.copyWithin(output.start, output.start + sentBytes, output.start + lengthBytes);
    output.at = output.start + heldBytes;
    return;
  }
  keep(lane, client, copyOf(lane, output.start + taken, output.start + lengthBytes), null);
  http2.isBlocked = true;
}

function closed(lane: Lane, http2: Http2, stream: Stream): void {
  count(lane.counts, "http2Streams", -1);
  dropSource(lane, http2, stream);
  partRelay(lane, http2, stream);
  http2.client.hasAnswered = true;
  http2.client.sinceMs = lane.nowMs;
}

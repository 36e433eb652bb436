/**
 * Ends connections that cost more than they ask for (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2025-8671).
 *
 *   resets    a stream that is closed before its response was complete, by the client or because of what it sent
 *   frames    bytes of all other frames: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA and CONTINUATION …
 *
 * Requests need no allowance, since a connection begins one of them per turn. A download adds allowance for its
 * WINDOW_UPDATEs. Beyond the allowance, the connection gets a GOAWAY with ENHANCE_YOUR_CALM.
 * Resets have a second allowance, which all connections of a client network share: otherwise each new connection would
 * bring another burst.
 */
import { constants } from "node:http2";
import { LRUCache } from "lru-cache";
import { withoutStack } from "#base/errors.ts";
import { type Allowance, openAllowance, spend } from "./allowance.ts";
import type { Connection, State } from "./connection.ts";
import type { Flood } from "./counts.ts";

/** Two pages with a hundred pictures each that are left before they are complete. */
const resetsBurst = 200;
const resetsPerSecond = 20;
/** Of a network: ten such clients at once, and further ones over time. */
const networkFactor = 10;
/** Networks whose resets are remembered: the last ones. A flood from more of them is limited by connection only. */
const networksMax = 10_000;
/** 4,000 PINGs at once, and a thousand a second. */
const frameBytesBurst = 64 * 1024;
const frameBytesPerSecond = 16 * 1024;
/** Some clients acknowledge every 4 KiB with two frames of 13 bytes. */
const sentPerFrameByte = 32;

export const resetsAllowance = (nowMs: number): Allowance => openAllowance(resetsBurst, resetsPerSecond, nowMs);
export const createNetworkResets = (): LRUCache<string, Allowance> => new LRUCache({ max: networksMax });
export const framesAllowance = (nowMs: number): Allowance => openAllowance(frameBytesBurst, frameBytesPerSecond, nowMs);

/** A stream was closed before its response was complete. */
export function chargeReset(state: State, connection: Connection): void {
  if (connection.session.destroyed) return; // with all that it had open
  const nowMs = state.clock.monotonicMs();
  const mayReset = spend(connection.resets, 1, nowMs);
  const mayNetworkReset = spend(networkAllowance(state, connection.network(), nowMs), 1, nowMs);
  if (!mayReset || !mayNetworkReset) end(state, connection, "resets");
}

function networkAllowance({ networkResets }: State, network: string, nowMs: number): Allowance {
  let allowance = networkResets.get(network);
  if (allowance === undefined) {
    allowance = openAllowance(resetsBurst * networkFactor, resetsPerSecond * networkFactor, nowMs);
    networkResets.set(network, allowance);
  }
  // A flood that goes on does not keep the network out for longer than it lasts.
  allowance.left = Math.max(allowance.left, 0);
  return allowance;
}

/** Charges what has arrived since the last call, except for requests and what a download needs. */
export function chargeFrames(state: State, connection: Connection): void {
  const { bytesRead, bytesWritten } = connection.socket;
  const { charged, requestBytes } = connection;
  const sentBytes = bytesWritten - charged.writtenBytes;
  const frameBytes = bytesRead - charged.readBytes - requestBytes - sentBytes / sentPerFrameByte;
  connection.requestBytes = 0;
  charged.readBytes = bytesRead;
  charged.writtenBytes = bytesWritten;
  if (frameBytes <= 0) return;
  if (!spend(connection.frames, frameBytes, state.clock.monotonicMs())) end(state, connection, "frames");
}

function end(state: State, { session }: Connection, flood: Flood): void {
  if (session.destroyed) return;
  state.counts.floods[flood] += 1;
  const why = withoutStack(() => new Error(`too many ${flood}`));
  session.destroy(why, constants.NGHTTP2_ENHANCE_YOUR_CALM);
}

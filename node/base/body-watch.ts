/**
 * A response body as it comes from an origin or a peer: how long it is silent, how much has come, and whether it waits
 * for its reader. There is one for each exchange (fetch/upstream/exchange.ts, peer/client.ts).
 *
 * A body may be silent for a given time; an event stream, for much longer. Time in which the reader does not take what
 * is here is no silence.
 */
import { type Dispatcher, errors } from "undici";
import type { Cancel, Clock } from "./clock.ts";
import { eventStreamSilenceMs, isEventStream } from "./event-streams.ts";

export interface BodyWatch {
  /** Its reader takes less than the origin sends. */
  readonly isPaused: () => boolean;
  readonly isEventStream: () => boolean;
  readonly bytes: () => number;
}

interface State {
  readonly clock: Clock;
  silenceMs: number;
  heardMs: number;
  bytes: number;
  isEventStream: boolean;
  controller: Dispatcher.DispatchController | undefined;
  cancel: Cancel | undefined;
}

/** How often it is looked in the time of a silence, so that a pause of the reader counts for little. */
const looksPerSilence = 4;

/**
 * @param end called when the response is complete or has failed, however much of it was read
 * @returns the handler to give to undici in the place of its own
 */
export function watchBody(
  clock: Clock,
  silenceMs: number,
  end: () => void,
): { watch: BodyWatch; around: (handler: Dispatcher.DispatchHandler) => Dispatcher.DispatchHandler } {
  const state: State = {
    clock,
    silenceMs,
    heardMs: 0,
    bytes: 0,
    isEventStream: false,
    controller: undefined,
    cancel: undefined,
  };
  const watch: BodyWatch = {
    isPaused: () => state.controller?.paused ?? false,
    isEventStream: () => state.isEventStream,
    bytes: () => state.bytes,
  };
  const ended = (): void => {
    state.cancel?.();
    end();
  };
  return { watch, around: (handler) => watched(state, handler, ended) };
}

function watched(state: State, handler: Dispatcher.DispatchHandler, ended: () => void): Dispatcher.DispatchHandler {
  return {
    onRequestStart: (controller, context) => handler.onRequestStart?.(controller, context),
    onResponseStart(controller, status, fields, text) {
      handler.onResponseStart?.(controller, status, fields, text);
      if (status >= 200) begin(state, controller, fields["content-type"]);
    },
    onResponseData(controller, chunk) {
      state.heardMs = state.clock.monotonicMs();
      state.bytes += chunk.length;
      handler.onResponseData?.(controller, chunk);
    },
    onResponseEnd(controller, trailers) {
      handler.onResponseEnd?.(controller, trailers);
      ended();
    },
    onResponseError(controller, error) {
      handler.onResponseError?.(controller, error);
      ended();
    },
  };
}

function begin(state: State, controller: Dispatcher.DispatchController, contentType: string | string[] | undefined) {
  state.controller = controller;
  state.heardMs = state.clock.monotonicMs();
  state.isEventStream = typeof contentType === "string" && isEventStream(contentType);
  if (state.isEventStream) state.silenceMs = eventStreamSilenceMs;
  lookIn(state, state.silenceMs);
}

function lookIn(state: State, leftMs: number): void {
  state.cancel = state.clock.after(Math.min(leftMs, state.silenceMs / looksPerSilence), () => {
    const nowMs = state.clock.monotonicMs();
    if (state.controller?.paused === true) state.heardMs = nowMs;
    const stillMs = state.heardMs + state.silenceMs - nowMs;
    if (stillMs > 0) lookIn(state, stillMs);
    else state.controller?.abort(new errors.BodyTimeoutError());
  });
}

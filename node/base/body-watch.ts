/**
 * Watches a response body as it arrives from an origin or a peer: how long it is silent, how much has arrived, and
 * whether it waits for its reader. There is one for each exchange (fetch/upstream/exchange.ts, peer/client.ts).
 *
 *   parser ──small chunks──▶ joined until the end of the read ──▶ reader
 *      ▲         └─ paid for (chunk-pace.ts)                        │
 *      └── paused: by the reader, or until the body's turn in the pace
 *
 * A body may be silent for a given time; an event stream, for much longer. Time during which the reader does not take
 * what has arrived, or during which the body waits for its turn, does not count as silence.
 *
 * A reader that can get the rest elsewhere may ask for less patience: after a short silence, the sender is asked for a
 * sign of life, and the body ends if there is none.
 *
 * Small chunks that arrive in one read reach the reader as one. So a sender of tiny chunks makes work only for the
 * parser, and the pace bounds that.
 */
import { type Dispatcher, errors } from "undici";
import { type ChunkPace, pay, waitInLine } from "./chunk-pace.ts";
import type { Cancel, Clock } from "./clock.ts";
import { eventStreamSilenceMs, isEventStream } from "./event-streams.ts";

export interface BodyWatch extends BodyProgress {
  /** From now on, each silence of `doubtMs` is a doubt: the body fails if the sender shows no sign of life. */
  readonly doubt: (isAlive: () => Promise<boolean>) => void;
}

export interface BodyProgress {
  /** Its reader takes less than the origin sends. */
  readonly isPaused: () => boolean;
  readonly isEventStream: () => boolean;
  readonly bytes: () => number;
}

interface State {
  readonly clock: Clock;
  readonly pace: ChunkPace | null;
  silenceMs: number;
  heardMs: number;
  bytes: number;
  isEventStream: boolean;
  /** undici's own; undefined before the request is sent. */
  controller: Dispatcher.DispatchController | undefined;
  isPausedByReader: boolean;
  /** Set while the body waits in the line of the pace; call it to leave. */
  leaveLine: Cancel | undefined;
  /** The parser was told to stop after the last chunk. */
  isParserStopped: boolean;
  /** The connection has ended, and undici parses the rest, paused or not. */
  isDraining: boolean;
  /** Small chunks of this read that the reader does not have yet. */
  crumbs: Buffer[];
  /** Stops looking for silence. */
  cancel: Cancel | undefined;
  isAlive: (() => Promise<boolean>) | undefined;
  /** When the sender showed its last sign of life without a byte of the body. */
  aliveMs: number;
  isAsking: boolean;
  isEnded: boolean;
}

/** With the answer's deadline (peer/client.ts), a reader waits for less than three seconds. */
const doubtMs = 1000;

/** How many checks are made within the allowed silence, so that a pause of the reader adds little to it. */
const looksPerSilence = 4;
/** Smaller chunks are copied into one, which costs less than passing on each of them. */
const joinedBytesMax = 4096;

/**
 * @param silenceMs the allowed silence of a body that is not an event stream
 * @param pace limits its small chunks; null: no limit
 * @param end called when the response is complete or has failed, however much of it was read
 * @returns the handler to give to undici in place of its own
 */
export function watchBody(
  { clock, silenceMs, pace }: { clock: Clock; silenceMs: number; pace: ChunkPace | null },
  end: () => void,
): { watch: BodyWatch; around: (handler: Dispatcher.DispatchHandler) => Dispatcher.DispatchHandler } {
  const state: State = {
    clock,
    pace,
    silenceMs,
    heardMs: 0,
    bytes: 0,
    isEventStream: false,
    controller: undefined,
    isPausedByReader: false,
    leaveLine: undefined,
    isParserStopped: false,
    isDraining: false,
    crumbs: [],
    cancel: undefined,
    isAlive: undefined,
    aliveMs: -Infinity,
    isAsking: false,
    isEnded: false,
  };
  const watch: BodyWatch = {
    isPaused: () => state.isPausedByReader,
    isEventStream: () => state.isEventStream,
    bytes: () => state.bytes,
    doubt(isAlive) {
      state.isAlive = isAlive;
      if (state.cancel === undefined || state.isEnded) return;
      state.cancel();
      lookIn(state, doubtMs / looksPerSilence);
    },
  };
  const ended = (): void => {
    state.isEnded = true;
    state.cancel?.();
    leaveLine(state);
    end();
  };
  return { watch, around: (handler) => watched(state, handler, ended) };
}

function watched(state: State, handler: Dispatcher.DispatchHandler, ended: () => void): Dispatcher.DispatchHandler {
  let readers: Dispatcher.DispatchController;
  return {
    onRequestStart(controller, context) {
      state.controller = controller;
      readers = controllerOfReader(state, controller);
      handler.onRequestStart?.(readers, context);
    },
    onResponseStart(_controller, status, fields, text) {
      handler.onResponseStart?.(readers, status, fields, text);
      if (status >= 200) begin(state, fields["content-type"]);
    },
    onResponseData(controller, chunk) {
      if (state.isParserStopped && controller.paused) drain(state, controller);
      state.bytes += chunk.length;
      if (chunk.length >= joinedBytesMax) {
        handOn(state, handler, readers);
        state.heardMs = state.clock.monotonicMs();
        handler.onResponseData?.(readers, chunk);
      } else {
        if (state.crumbs.length === 0) queueMicrotask(() => handOnLater(state, handler, readers));
        state.crumbs.push(chunk);
      }
      payFor(state, controller, chunk.length);
      state.isParserStopped = controller.paused;
    },
    onResponseEnd(_controller, trailers) {
      handOn(state, handler, readers);
      handler.onResponseEnd?.(readers, trailers);
      ended();
    },
    onResponseError(_controller, error) {
      handOn(state, handler, readers);
      handler.onResponseError?.(readers, error);
      ended();
    },
  };
}

/** The reader's pauses, as opposed to those of the pace. */
function controllerOfReader(state: State, controller: Dispatcher.DispatchController): Dispatcher.DispatchController {
  return {
    get aborted() {
      return controller.aborted;
    },
    get paused() {
      return state.isPausedByReader;
    },
    get reason() {
      return controller.reason;
    },
    get rawHeaders() {
      return controller.rawHeaders ?? null;
    },
    get rawTrailers() {
      return controller.rawTrailers ?? null;
    },
    abort(reason) {
      controller.abort(reason);
    },
    pause() {
      state.isPausedByReader = true;
      if (!state.isDraining) controller.pause();
    },
    resume() {
      state.isPausedByReader = false;
      if (state.leaveLine === undefined) controller.resume();
    },
  };
}

/** A chunk arrived although the parser had been told to stop: each further pause would only make it start again. */
function drain(state: State, controller: Dispatcher.DispatchController): void {
  state.isDraining = true;
  leaveLine(state);
  controller.resume();
}

function payFor(state: State, controller: Dispatcher.DispatchController, chunkBytes: number): void {
  const { pace } = state;
  if (pace === null || state.isDraining || state.leaveLine !== undefined || pay(pace, chunkBytes)) return;
  controller.pause();
  state.leaveLine = waitInLine(pace, () => {
    state.leaveLine = undefined;
    if (!state.isPausedByReader) controller.resume();
  });
}

function leaveLine(state: State): void {
  state.leaveLine?.();
  state.leaveLine = undefined;
}

/** Passes on to the reader what has arrived in this read. */
function handOn(state: State, handler: Dispatcher.DispatchHandler, readers: Dispatcher.DispatchController): void {
  const { crumbs } = state;
  if (crumbs.length === 0) return;
  state.crumbs = [];
  state.heardMs = state.clock.monotonicMs();
  const [only] = crumbs;
  handler.onResponseData?.(readers, only !== undefined && crumbs.length === 1 ? only : Buffer.concat(crumbs));
}

/** At the end of the read. A failure of the reader ends the response, as it does when undici calls it. */
function handOnLater(state: State, handler: Dispatcher.DispatchHandler, readers: Dispatcher.DispatchController): void {
  try {
    handOn(state, handler, readers);
  } catch (error) {
    readers.abort(error as Error);
  }
}

function begin(state: State, contentType: string | string[] | undefined): void {
  state.heardMs = state.clock.monotonicMs();
  state.isEventStream = typeof contentType === "string" && isEventStream(contentType);
  if (state.isEventStream) state.silenceMs = eventStreamSilenceMs;
  lookIn(state, state.silenceMs);
}

function lookIn(state: State, leftMs: number): void {
  const silenceMs = state.isAlive === undefined ? state.silenceMs : doubtMs;
  state.cancel = state.clock.after(Math.min(leftMs, silenceMs / looksPerSilence), () => {
    const nowMs = state.clock.monotonicMs();
    if (state.isPausedByReader || state.leaveLine !== undefined) state.heardMs = nowMs;
    else if (nowMs - Math.max(state.heardMs, state.aliveMs) >= doubtMs) void askForLife(state);
    const stillMs = state.heardMs + state.silenceMs - nowMs;
    if (stillMs > 0) lookIn(state, stillMs);
    else state.controller?.abort(new errors.BodyTimeoutError());
  });
}

/** The body ends if its sender shows no sign of life, and has sent no byte meanwhile. Never rejects. */
async function askForLife(state: State): Promise<void> {
  const { isAlive, heardMs } = state;
  if (isAlive === undefined || state.isAsking) return;
  state.isAsking = true;
  const lives = await isAlive();
  state.isAsking = false;
  if (lives) state.aliveMs = state.clock.monotonicMs();
  else if (!state.isEnded && heardMs === state.heardMs) state.controller?.abort(new errors.BodyTimeoutError());
}

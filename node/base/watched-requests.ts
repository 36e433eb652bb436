/**
 * Requests of an undici dispatcher, each with a handler around undici's own (body-watch.ts). undici's compose() creates
 * functions and a proxy on each call, which took a seventh of a request's time, so there is one function per
 * dispatcher.
 */
import type { Dispatcher } from "undici";

type Around = (handler: Dispatcher.DispatchHandler) => Dispatcher.DispatchHandler;

export type WatchedRequest = (options: Dispatcher.RequestOptions, around: Around) => Promise<Dispatcher.ResponseData>;

/** @returns a function that sends one request; `around` gets undici's handler for it */
export function watchedRequests(dispatcher: Dispatcher): WatchedRequest {
  const composed = dispatcher.compose((dispatch) => (options, handler) => {
    const { around } = options as Dispatcher.DispatchOptions & { around: Around };
    return dispatch(options, around(handler));
  });
  return (options, around) => {
    const withAround: Dispatcher.RequestOptions & { around: Around } = { ...options, around };
    return composed.request(withAround);
  };
}

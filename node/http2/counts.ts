/** Counters of HTTP/2 connections. One record for all listeners of a process, because the metrics read it. */

/** "resets": of streams whose response was not complete. "frames": bytes of frames that serve no request. */
export const floods = ["resets", "frames"] as const;
export type Flood = (typeof floods)[number];

export interface Http2Counts {
  /** Accepted since the start. */
  connections: number;
  /** Open now. */
  open: number;
  /** Whose request has arrived, and which are not closed yet. */
  streams: number;
  /** Streams closed since the start because their request was malformed. */
  malformed: number;
  /** Connections closed since the start because of what they cost. */
  readonly floods: Record<Flood, number>;
}

/** The sum of both. */
export function addHttp2Counts(one: Http2Counts, other: Http2Counts): Http2Counts {
  return {
    connections: one.connections + other.connections,
    open: one.open + other.open,
    streams: one.streams + other.streams,
    malformed: one.malformed + other.malformed,
    floods: {
      resets: one.floods.resets + other.floods.resets,
      frames: one.floods.frames + other.floods.frames,
    },
  };
}

export function createHttp2Counts(): Http2Counts {
  return { connections: 0, open: 0, streams: 0, malformed: 0, floods: { resets: 0, frames: 0 } };
}

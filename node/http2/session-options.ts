/** The limits of an HTTP/2 connection that nghttp2 and Node enforce. */
import type { ServerSessionOptions } from "node:http2";

/** Requests of a connection at a time; browsers expect 100 or more (RFC 9113 §6.5.2). */
const streamsMax = 100;
/**
 * Names and values of a request, with 32 bytes for each field. Beyond, the stream is reset. (nghttp2 decodes no more
 * than 64 KiB of a field section.)
 */
const fieldListBytesMax = 64 * 1024;
/** A cookie may be split into many fields. */
const fieldsMax = 256;
/** What a client may send of a body that nobody reads. */
const windowBytes = 4096;
/** Of the frames that a connection sends and of its state, in MB. */
const sessionMemoryMax = 16;

export const sessionOptions: ServerSessionOptions & { strictSingleValueFields: boolean } = {
  settings: {
    maxConcurrentStreams: streamsMax,
    maxHeaderListSize: fieldListBytesMax,
    initialWindowSize: windowBytes,
    headerTableSize: 4096,
  },
  maxHeaderListPairs: fieldsMax,
  maxDeflateDynamicTableSize: 4096,
  maxSessionMemory: sessionMemoryMax,
  // Each is answered by a RST_STREAM. Then the connection is closed.
  maxSessionInvalidFrames: 100,
  maxSessionRejectedStreams: 100,
  maxOutstandingPings: 10,
  maxSettings: 32,
  // What several fields of a name mean is up to the application, as in HTTP/1.1.
  strictSingleValueFields: false,
};

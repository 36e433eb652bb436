/** The part of a response from a lane (hits.ts) that the client has not read yet. */
import { type Client, close, type Lane } from "./lane.ts";

/** Gives up what the client has not taken. */
export function dropUnsent(lane: Lane, client: Client): void {
  if (client.unsent === null) return;
  const { bytes, at, file } = client.unsent;
  if (bytes !== null) lane.unsentBytes -= bytes.length - at;
  if (file !== -1) close(lane, file);
  client.unsent = null;
}

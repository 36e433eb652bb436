/**
 * Parses server-sent events (WHATWG HTML §9.2.6) incrementally; pure except for its buffer.
 *
 * Every byte proves that the sender is alive. Comments (heartbeats) produce no event.
 */
import { StringDecoder } from "node:string_decoder";

export interface ServerSentEvent {
  event: string;
  id: string;
  data: string;
}

/** Our largest event, a purge of a thousand names, has some 600 KB. */
const lineLengthMax = 1024 * 1024;
/** None of our events has more lines than this. Lines are kept until the event ends. */
const linesMax = 1024;

/**
 * Returns a function that takes the next bytes and returns the events that they complete. Throws if a line is too long
 * or an event has too many lines.
 */
export function createEventStreamReader(): (bytes: Buffer) => ServerSentEvent[] {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  let event = "";
  let id = "";
  let data: string[] = [];
  return (bytes) => {
    const events: ServerSentEvent[] = [];
    const lines = (rest + decoder.write(bytes)).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    if (rest.length > lineLengthMax) throw new Error(`a line of the event stream is longer than ${lineLengthMax}`);
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) events.push({ event: event === "" ? "message" : event, id, data: data.join("\n") });
        event = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon === -1 ? line : line.slice(0, colon);
      const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data" && data.push(value) > linesMax) {
        throw new Error(`an event of the event stream has more than ${linesMax} lines`);
      }
      if (field === "event") event = value;
      else if (field === "id") id = value;
    }
    return events;
  };
}

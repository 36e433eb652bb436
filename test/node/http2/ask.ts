/** Requests over HTTP/2 without TLS, by Node's client, and what comes back: fields in their order, body, and end. */
import { type ClientHttp2Session, type ClientHttp2Stream, type ClientSessionOptions, connect } from "node:http2";
import { once } from "node:events";
import type { TestContext } from "node:test";

export interface Response2 {
  status: number;
  /** By name, in the order in which they came. */
  fields: ReadonlyMap<string, readonly string[]>;
  body: Buffer;
  /** Of the RST_STREAM that ended it; 0: the response is complete. */
  code: number;
}

/** So that a test may send what Node's client would refuse: several fields of one name. */
const lenient = { strictSingleValueFields: false };

export async function openSession(
  t: TestContext,
  at: { address: string; port: number },
  options: ClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = connect(`http://${at.address}:${at.port}`, { ...options, ...lenient });
  session.on("error", () => undefined); // its streams end, and that is what tests look at
  t.after(() => {
    session.destroy();
  });
  await once(session, "connect");
  return session;
}

/** @param list names and values in turn, pseudo-header fields among them */
export function startRequest(session: ClientHttp2Session, list: readonly string[], hasBody = false): ClientHttp2Stream {
  const stream = session.request([...list], { endStream: !hasBody });
  stream.on("error", () => undefined); // followed by "close", with its code
  return stream;
}

export function get(target: string, ...fields: string[]): string[] {
  return [":method", "GET", ":scheme", "http", ":authority", "x", ":path", target, ...fields];
}

/** Resolves at the end of the stream, whatever that is. */
export function responseOf(stream: ClientHttp2Stream): Promise<Response2> {
  const fields = new Map<string, string[]>();
  const chunks: Buffer[] = [];
  let status = 0;
  stream.on("response", (...[, , list]: [unknown, unknown, string[]]) => {
    for (let index = 0; index < list.length; index += 2) {
      const [name = "", value = ""] = list.slice(index, index + 2);
      if (name === ":status") status = Number(value);
      else fields.set(name, [...(fields.get(name) ?? []), value]);
    }
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    stream.on("close", () => {
      resolve({ status, fields, body: Buffer.concat(chunks), code: stream.rstCode ?? 0 });
    });
  });
}

export async function ask(session: ClientHttp2Session, list: readonly string[]): Promise<Response2> {
  return await responseOf(startRequest(session, list));
}

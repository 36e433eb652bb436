/**
 * Judges what Node's parser accepts and RFC 9112 does not: versions, transfer codings, Host. Every application asks
 * this before anything else. What the parser itself rejects is answered by unreadable-request.ts. Pure.
 */
import type { IncomingMessage } from "node:http";
import { NearcastError } from "./errors.ts";

type Head = Pick<IncomingMessage, "httpVersion" | "headers" | "rawHeaders">;

/** What is wrong with a request that the parser has accepted, or undefined. */
export function whyRefused(request: Head): NearcastError | undefined {
  return refusedVersion(request) ?? refusedCoding(request) ?? refusedHost(request);
}

/** The parser also accepts 0.9 and 2.0. HTTP/2 begins otherwise (RFC 9113 §3). */
function refusedVersion({ httpVersion }: Head): NearcastError | undefined {
  if (httpVersion === "1.1" || httpVersion === "1.0") return undefined;
  return new NearcastError("VERSION_NOT_SUPPORTED", `HTTP/${httpVersion}`);
}

/** RFC 9112 §6.1 and §6.3: without `chunked` at its end, nobody knows where a body ends; other codings are optional. */
function refusedCoding({ httpVersion, headers }: Head): NearcastError | undefined {
  const field = headers["transfer-encoding"];
  if (field === undefined) return undefined;
  if (httpVersion === "1.0") return new NearcastError("BAD_REQUEST", "HTTP/1.0 has no Transfer-Encoding");
  const codings = field.split(",").map((coding) => coding.trim().toLowerCase());
  if (codings.pop() !== "chunked" || codings.includes("chunked"))
    return new NearcastError("BAD_REQUEST", "the final transfer coding, and no other, must be chunked");
  const others = codings.filter((coding) => coding !== "");
  return others.length === 0 ? undefined : new NearcastError("NOT_IMPLEMENTED", `transfer coding ${others.join()}`);
}

/** RFC 9112 §3.2. Node keeps the first of several Host fields; a proxy in front may have used the last. */
function refusedHost({ httpVersion, headers, rawHeaders }: Head): NearcastError | undefined {
  if (headers.host === undefined) {
    return httpVersion === "1.0" ? undefined : new NearcastError("BAD_REQUEST", "the request needs a Host field");
  }
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? "";
    if (name.length === 4 && name.toLowerCase() === "host") hosts += 1;
  }
  return hosts > 1 ? new NearcastError("BAD_REQUEST", "the request must have only one Host field") : undefined;
}

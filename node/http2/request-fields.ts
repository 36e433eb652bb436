/**
 * Reads the header list of an HTTP/2 request (RFC 9113 §8), and writes it as an HTTP/1.1 request. Pure, in one pass.
 *
 *   list of fields ─┬─▶ request ─┬─▶ plainOf()  a request that may be a hit
 *                   │            └─▶ headOf()   the same request in HTTP/1.1, for Node's server
 *                   └─▶ malformed  a stream error of type PROTOCOL_ERROR (§8.1.1)
 *
 * What headOf() writes is one head of HTTP/1.1: no name, value or target can end a line or begin another request.
 */
import { isMadeOf, notedFields, type NotedField, relayedFields } from "../front/request-head.ts";

export interface Http2Request {
  readonly outcome: "request";
  readonly method: string;
  /** The value of `:path`, or of `:authority` for CONNECT. */
  readonly target: string;
  /** The value of `:authority`, or else of Host. */
  readonly host: string | undefined;
  /** Names and values in turn, without Host, Cookie and TE. */
  readonly fields: readonly string[];
  /** All Cookie fields as one (§8.2.3). */
  readonly cookie: string | undefined;
  /** How the body is framed in HTTP/1.1. */
  readonly body: "none" | "length" | "chunked";
}

export type ReadRequest = Http2Request | { readonly outcome: "malformed"; readonly reason: string };

/** A request that may be answered from a cache at once: GET or HEAD, without a body, each field that matters once. */
export interface PlainFields {
  readonly method: "GET" | "HEAD";
  readonly target: string;
  readonly host: string;
  readonly accept: string | undefined;
  /** Whether the response may be a part, a 304 or a 412. */
  readonly isConditional: boolean;
  /** The fields that may decide about the response, in lower case. */
  readonly fields: Readonly<Record<string, string>>;
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Upper-case letters are malformed here (§8.2.1). */
const fieldName = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
/** A request line or a Host field in HTTP/1.1 can hold these: no space and no control character. */
// oxlint-disable-next-line no-control-regex -- control characters are what is excluded
const unspaced = /^[^\u0000-\u0020\u007f]+$/;
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const forbiddenInValue = /[\u0000\n\r]|^[ \t]|[ \t]$/;
const decimal = /^\d{1,15}$/;

/** §8.2.2: malformed in requests, and in their trailers. */
export const connectionFields: ReadonlySet<string> = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "transfer-encoding",
  "upgrade",
]);
const pseudoFields = new Set([":method", ":scheme", ":authority", ":path"]);

/**
 * @param list names and values in turn, as they were decoded
 * @param hasBody whether DATA frames may follow: the HEADERS frame did not end the stream
 */
export function readRequest(list: readonly string[], hasBody: boolean): ReadRequest {
  const pseudo = new Map<string, string>();
  const fields: string[] = [];
  const cookies: string[] = [];
  let hostField: string | undefined;
  let length: string | undefined;
  for (let index = 0; index < list.length; index += 2) {
    const name = list[index] ?? "";
    const value = list[index + 1] ?? "";
    if (forbiddenInValue.test(value)) return malformed(`the value of ${quoted(name)} has a forbidden character`);
    if (name.startsWith(":")) {
      if (!pseudoFields.has(name)) return malformed(`${quoted(name)} is no pseudo-header field of a request`);
      if (pseudo.has(name)) return malformed(`${name} occurs twice`);
      if (fields.length > 0 || cookies.length > 0 || hostField !== undefined)
        return malformed(`${name} is not in front`);
      pseudo.set(name, value);
      continue;
    }
    if (!fieldName.test(name)) return malformed(`the field name ${quoted(name)} is not valid in HTTP/2`);
    if (connectionFields.has(name)) return malformed(`${name} concerns a connection of HTTP/1.1`);
    if (name === "te") {
      // For this hop only: trailers are passed on anyway.
      if (value.toLowerCase() !== "trailers") return malformed("te must be trailers");
    } else if (name === "cookie") cookies.push(value);
    else if (name === "host") {
      if (hostField !== undefined) return malformed("there are two host fields");
      hostField = value;
    } else if (name === "content-length") {
      if (length !== undefined && length !== value) return malformed("there are two lengths");
      if (!decimal.test(value)) return malformed("content-length is not a number");
      length = value;
    } else fields.push(name, value);
  }
  const method = pseudo.get(":method") ?? "";
  if (!token.test(method)) return malformed(":method is missing, or not a token");
  const authority = pseudo.get(":authority");
  if (method === "CONNECT") return connectTo(authority, pseudo);
  const target = pseudo.get(":path") ?? "";
  const reason = whyBad({ scheme: pseudo.get(":scheme"), authority, hostField, target, method });
  if (reason !== undefined) return malformed(reason);
  if (length !== undefined) {
    if (!hasBody && Number(length) > 0) return malformed("content-length announces a body that does not come");
    if (hasBody) fields.push("content-length", length);
  }
  return {
    outcome: "request",
    method,
    target,
    host: authority ?? hostField,
    fields,
    cookie: cookies.length === 0 ? undefined : cookies.join("; "),
    body: !hasBody ? "none" : length === undefined ? "chunked" : "length",
  };
}

/** §8.5. What would go through the tunnel is not passed on, so this is a request without a body. */
function connectTo(authority: string | undefined, pseudo: ReadonlyMap<string, string>): ReadRequest {
  if (pseudo.has(":path") || pseudo.has(":scheme")) return malformed("CONNECT must have neither :path nor :scheme");
  if (authority === undefined || !isAuthority(authority)) return malformed("CONNECT needs a valid :authority");
  const host = authority;
  return {
    outcome: "request",
    method: "CONNECT",
    target: authority,
    host,
    fields: [],
    cookie: undefined,
    body: "none",
  };
}

/** §8.3.1 */
function whyBad(request: {
  scheme: string | undefined;
  authority: string | undefined;
  hostField: string | undefined;
  target: string;
  method: string;
}): string | undefined {
  const { scheme, authority, hostField, target, method } = request;
  if (scheme === undefined || scheme === "") return ":scheme is missing";
  if (!unspaced.test(target)) return ":path is missing, or has a character that must be percent-encoded";
  if (!target.startsWith("/") && !(target === "*" && method === "OPTIONS")) return ":path does not begin with a slash";
  if (authority !== undefined && !isAuthority(authority)) return ":authority is not valid";
  if (hostField !== undefined && hostField !== "" && !isAuthority(hostField)) return "the host field is not valid";
  if (authority !== undefined && hostField !== undefined && authority.toLowerCase() !== hostField.toLowerCase()) {
    return ":authority and the host field differ";
  }
  return undefined;
}

/** Without the deprecated user information. */
function isAuthority(text: string): boolean {
  return unspaced.test(text) && !text.includes("@");
}

function malformed(reason: string): ReadRequest {
  return { outcome: "malformed", reason };
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

const notedSet: ReadonlySet<string> = new Set(notedFields);
const relayedSet: ReadonlySet<string> = new Set(relayedFields);
const firstConditional = notedFields.indexOf("range");
const conditionalSet: ReadonlySet<string> = new Set(notedFields.slice(firstConditional));

/** The request, if nothing but a cache has to be asked about it; undefined: the application decides. */
export function plainOf({ method, target, host, fields, body }: Http2Request): PlainFields | undefined {
  if ((method !== "GET" && method !== "HEAD") || body !== "none" || host === undefined || host === "") return undefined;
  if (!isMadeOf("target", target)) return undefined;
  const noted: Partial<Record<NotedField, string>> = { host };
  let isConditional = false;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? "";
    const value = fields[index + 1] ?? "";
    if (relayedSet.has(name) || !isMadeOf("value", value)) return undefined;
    if (!notedSet.has(name)) continue;
    if (value === "" || noted[name as NotedField] !== undefined) return undefined;
    noted[name as NotedField] = value;
    isConditional ||= conditionalSet.has(name);
  }
  return { method, target, host, accept: noted.accept, isConditional, fields: noted };
}

/**
 * The head of the same request in HTTP/1.1 (RFC 9112), latin1.
 * @param isLast whether the connection closes after the response
 */
export function headOf({ method, target, host, fields, cookie, body }: Http2Request, isLast: boolean): string {
  let head = `${method} ${target} HTTP/1.1\r\n`;
  if (host !== undefined) head += `Host: ${host}\r\n`;
  for (let index = 0; index < fields.length; index += 2) head += `${fields[index]}: ${fields[index + 1]}\r\n`;
  if (cookie !== undefined) head += `cookie: ${cookie}\r\n`;
  if (body === "chunked") head += "Transfer-Encoding: chunked\r\n";
  if (isLast) head += "Connection: close\r\n";
  return `${head}\r\n`;
}

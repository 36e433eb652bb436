/**
 * A raw request, and what is right as its answer. The tables of this folder list such cases; run-case.ts sends them,
 * to the edge, to the origin's API, and to nginx.
 */

export interface RawCase {
  readonly name: string;
  /** The RFC and the section that decides. */
  readonly rfc: string;
  /** One character per byte. */
  readonly bytes: string;
  /**
   * The statuses of all responses, in order: `200 400|501`. Each may have alternatives. All of them are right, and the
   * first is ours. `200-` is the response to a HEAD, `none` no response at all.
   */
  readonly right: string;
  /** What happens next. Where it is not decided: `either`. `half-closed`: the client ends its side, then the server. */
  readonly after: "open" | "closed" | "either" | "half-closed";
}

/** Rows of a table: name, section, bytes, right answers, what follows. */
export type Row = readonly [name: string, rfc: string, bytes: string, right: string, then: RawCase["after"]];

export function casesOf(rows: readonly Row[]): readonly RawCase[] {
  return rows.map(([name, rfc, bytes, right, after]) => ({ name, rfc, bytes, right, after }));
}

/** The host that all requests name. Its origin has `/a`: ten bytes with the validators below, fresh for a minute. */
export const hostLine = "Host: assets.cdn.test";
export const etag = '"1"';
export const lastModified = "Mon, 01 Jun 2026 00:00:00 GMT";

/** A request with this line, and these field lines behind Host. */
export function ask(requestLine: string, ...lines: readonly string[]): string {
  return [requestLine, hostLine, ...lines, "", ""].join("\r\n");
}

/** GET of `/a`, with these field lines. */
export function get(...lines: readonly string[]): string {
  return ask("GET /a HTTP/1.1", ...lines);
}

/** POST to `/a`, with these field lines and this body. */
export function post(body: string, ...lines: readonly string[]): string {
  return ask("POST /a HTTP/1.1", ...lines) + body;
}

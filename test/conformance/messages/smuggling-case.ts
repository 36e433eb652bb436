/**
 * Request smuggling: bytes that two servers in a row could divide into requests in different ways. A case has no list
 * of right responses. smuggling.test.ts states what must hold for all of them, and looks at what reaches the origin.
 *
 * In targets, `@@@@@` stands for the number of the run, so that every request is known by its target:
 *
 *   /@@@@@/a, /@@@@@/b   requests of the client
 *   /@@@@@/hidden        a part of a body, of a field, or of what is no request: it must reach nobody
 */
import { hostLine } from "./raw-case.ts";

export interface SmugglingCase {
  readonly name: string;
  /** The RFC and the section about it. */
  readonly rfc: string;
  /** One character per byte. */
  readonly bytes: string;
}

export type SmugglingRow = readonly [name: string, rfc: string, bytes: string];

export const targetA = "/@@@@@/a";
export const hiddenTarget = "/@@@@@/hidden";

/** What a smuggler hides. If it were read as a request, it would reach the origin. */
export const hidden = `GET ${hiddenTarget} HTTP/1.1\r\n${hostLine}\r\n\r\n`;

/** A request with this line, and these field lines behind Host. */
export function request(requestLine: string, ...lines: readonly string[]): string {
  return [requestLine, hostLine, ...lines, "", ""].join("\r\n");
}

export function get(...lines: readonly string[]): string {
  return request(`GET ${targetA} HTTP/1.1`, ...lines);
}

export function post(...lines: readonly string[]): string {
  return request(`POST ${targetA} HTTP/1.1`, ...lines);
}

/** A second request of the client, which may be served. */
export const second = request("GET /@@@@@/b HTTP/1.1");

export function chunk(text: string): string {
  return `${text.length.toString(16)}\r\n${text}\r\n`;
}

export function smugglingCases(rows: readonly SmugglingRow[]): readonly SmugglingCase[] {
  return rows.map(([name, rfc, bytes]) => ({ name, rfc, bytes }));
}

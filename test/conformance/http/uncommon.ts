/**
 * Requests that caches seldom get: other methods, bodies, versions, forms of the target and fields about the
 * connection. All of them are valid HTTP, or nearly so. Each begins as a request of corpus.ts, and one or two things
 * about it change.
 */
import type { Random } from "#base/random.ts";
import type { Request } from "./corpus.ts";

const methods = ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY"];
const connections = [
  "Connection: close",
  "connection: Close",
  "Connection: keep-alive, close",
  "Connection: Keep-Alive",
  "Connection: x-y",
  "Connection:",
  "Connection: close, x-y",
];
const fields = [
  "Cookie: a=b; c=d",
  `Cookie: ${"c".repeat(3000)}=d`,
  "X-!#$%&'*+-.^_`|~09: y",
  "X-Empty:",
  "X-Tab:\ta\tb\t",
  "X-Latin: \xe4\xff",
  'X-Quoted: "a, \\" b"',
  "Accept: image/avif;q=0.1, image/webp;q=0.2, */*;q=0",
  "Accept: image/*",
  "Accept:",
  "Accept: text/html, application/xhtml+xml, image/jxl, */*;q=0.8",
  "Accept-Encoding: gzip;q=0, *;q=0.5",
  "TE: trailers",
  "Expect: 100-continue",
  "Expect: other",
  "Range: bytes=0-0",
  "Range: bytes=1-2, 4-5, -1",
  'If-Range: W/"1"',
  'If-None-Match: "a", "b", "1"',
];

type Change = (request: Request, random: Random) => Request;

/** With other field lines behind. */
const adds = (request: Request, ...lines: readonly string[]): Request => ({
  ...request,
  lines: [...request.lines, ...lines],
});
const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;

/** The same body in both framings of HTTP/1.1. */
function withBody(request: Request, random: Random): Request {
  const body = "b".repeat(Math.floor(random() ** 3 * 5000));
  if (random() < 0.5) return { ...adds(request, `Content-Length: ${body.length}`), body };
  const half = Math.floor(body.length / 2);
  const chunks = [body.slice(0, half), body.slice(half)].filter((chunk) => chunk !== "");
  const text = chunks.map((chunk) => `${chunk.length.toString(16)}${random() < 0.2 ? ";x=y" : ""}\r\n${chunk}\r\n`);
  return { ...adds(request, "Transfer-Encoding: chunked"), body, framed: `${text.join("")}0\r\n\r\n` };
}

const withoutHost = ({ lines }: Request): string[] => lines.filter((line) => !/^host:/i.test(line));

const changes: readonly Change[] = [
  (request, random) => ({ ...request, method: pick(random, methods) }),
  (request, random) => withBody({ ...request, method: pick(random, methods) }, random),
  withBody,
  (request, random) => withBody(adds(request, "Expect: 100-continue"), random),
  (request) => ({ ...request, version: "1.0" }),
  (request) => ({ ...adds(request, "Connection: keep-alive"), version: "1.0" }),
  (request) => ({ ...request, version: "1.0", lines: withoutHost(request) }),
  (request) => ({ ...request, lines: withoutHost(request) }),
  (request, random) => ({
    ...request,
    form: `${pick(random, ["http", "https", "HTTP"])}://${pick(random, [request.host, "other.cdn.test"])}`,
  }),
  (request) => {
    const host = request.host.toUpperCase();
    return { ...request, host, lines: [`Host: ${host}`, ...withoutHost(request)] };
  },
  ({ target, ...request }, random) => {
    const at = Math.floor(random() * target.length);
    const code = target.charCodeAt(at).toString(16).padStart(2, "0");
    const escape = `%${random() < 0.5 ? code : code.toUpperCase()}`;
    return {
      ...request,
      target: target.startsWith("/") && at > 0 ? target.slice(0, at) + escape + target.slice(at + 1) : target,
    };
  },
  ({ target, ...request }, random) => ({
    ...request,
    target: `${target}${target.includes("?") ? "&" : "?"}${"q".repeat(Math.floor(random() ** 2 * 9000))}`,
  }),
  (request, random) => adds(request, pick(random, connections)),
  (request, random) => adds(request, ...fields.filter(() => random() < 0.12)),
  (request, random) => adds(request, ...Array.from({ length: Math.floor(random() * 90) }, (_, at) => `X-${at}: y`)),
];

/** @param common is changed a little */
export function uncommonRequest(random: Random, common: Request): Request {
  const first = pick(random, changes)(common, random);
  if (random() < 0.7 || first.body !== undefined) return first;
  const second = pick(random, changes.slice(4))(first, random);
  return second;
}

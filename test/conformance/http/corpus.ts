/**
 * Two edges that are alike, and requests for them: hits, misses, errors, conditions, ranges, pictures and assets. Tests
 * ask the edges in two ways and compare.
 */
import { createHash } from "node:crypto";
import type { TestContext } from "node:test";
import type { Random } from "#base/random.ts";
import { photograph } from "../../support/pictures.ts";
import type { ServedCertificate } from "../../../node/tls/certificate.ts";
import type { SharedLanes } from "../../support/shared-lanes.ts";
import type { Answer } from "../../node/http/raw.ts";
import { hostName, otherHostName, type RunningEdge, startEdge } from "./running-edge.ts";
import type { Said, ScriptedOrigin } from "./scripted-origin.ts";

const imagesHostName = "img.cdn.test";
const lastModified = "Mon, 01 Jun 2026 00:00:00 GMT";

/** What the origin says for a target, fetched once before the comparison begins. */
export const stored: Record<string, Said> = {
  "/a": {
    fields: [
      ["Cache-Control", "max-age=60, stale-if-error=60"],
      ["ETag", '"1"'],
      ["Last-Modified", lastModified],
      ["Content-Type", "text/plain"],
    ],
    body: "0123456789",
  },
  "/weak": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", 'W/"w"'],
    ],
    body: "weak",
  },
  "/bare": { fields: [["Cache-Control", "max-age=100000"]], body: "bare", date: null },
  "/short": {
    fields: [
      ["Cache-Control", "max-age=2"],
      ["ETag", '"s"'],
    ],
    body: "short",
  },
  "/large": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", '"l"'],
    ],
    body: Buffer.alloc(300_000, "large "),
  },
  "/middling": { fields: [["Cache-Control", "max-age=100000"]], body: Buffer.alloc(9000, "middling ") },
  "/chunked": { fields: [["Cache-Control", "max-age=100000"]], body: "chunked", framing: "chunked" },
  "/empty": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["ETag", '"e"'],
    ],
    body: "",
  },
  "/none": { status: 204, fields: [["Cache-Control", "max-age=100000"]] },
  "/gone": { status: 410, fields: [["Cache-Control", "max-age=100000"]], body: "gone" },
  "/moved": {
    status: 301,
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Location", "/a"],
    ],
    body: "",
  },
  "/missing": { status: 404, fields: [["Cache-Control", "max-age=100000"]], body: "missing" },
  "/many": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Link", "</a>; rel=preload"],
      ["Link", "</b>; rel=preload"],
      ["X-Latin", "\xe4\xf6"],
      ["Surrogate-Key", "one two"],
      ["Expires", "Thu, 01 Jan 2099 00:00:00 GMT"],
      ["Age", "7"],
    ],
    body: "many",
  },
  "/vary": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Accept-Encoding"],
    ],
    body: "vary",
  },
  "/language": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Accept-Language, User-Agent"],
    ],
    body: "hi",
  },
  "/origin": {
    fields: [
      ["Cache-Control", "max-age=100000"],
      ["Vary", "Origin, Cookie"],
    ],
    body: "any",
  },
  "/a?q=1&r=%20": { fields: [["Cache-Control", "max-age=100000"]], body: "a query" },
};

/** What is asked for at each time. */
export const unstored: Record<string, Said> = {
  "/private": { fields: [["Cache-Control", "private"]], body: "private" },
  "/no-store": { fields: [["Cache-Control", "no-store"]], body: "no-store" },
  "/cookie": {
    fields: [
      ["Cache-Control", "max-age=9"],
      ["Set-Cookie", "a=b"],
    ],
    body: "cookie",
  },
  "/star": {
    fields: [
      ["Cache-Control", "max-age=9"],
      ["Vary", "*"],
    ],
    body: "star",
  },
  "/failing": { status: 500, fields: [["Cache-Control", "no-store"]], body: "failing" },
};

const firstsMax = 400;

function tellOrigin(origin: ScriptedOrigin, picture: Buffer): void {
  for (const [target, said] of Object.entries({ ...stored, ...unstored })) origin.say(target, said);
  for (let index = 0; index < firstsMax; index += 1) {
    const fields = [
      ["Cache-Control", "max-age=100000"],
      ["ETag", `"f${index}"`],
    ] as const;
    origin.say(`/first/${index}`, { fields, body: `first ${index}` });
  }
  const etag = `"${createHash("sha256").update(picture).digest("hex")}"`;
  for (const name of ["p.jpg", "q.jpg"]) {
    origin.say(`/api/v1/images/${name}`, ({ fields }) =>
      fields["if-none-match"]?.includes(etag) === true
        ? { status: 304, fields: [["ETag", etag]] }
        : { fields: [["ETag", etag]], body: picture },
    );
  }
}

const lines = {
  any: [
    "Accept-Encoding: gzip, br",
    "Accept-Encoding: identity",
    "Accept-Language: de",
    "accept-language: en;q=0.5, de",
    "User-Agent: x/1",
    "User-Agent:",
    "Cookie: a=b",
    "Origin: https://example.test",
    "Cache-Control: no-cache",
    "Cache-Control: only-if-cached",
    "Pragma: no-cache",
    "Connection: keep-alive",
    "CDN-Loop: other",
    "X-Forwarded-For: 192.0.2.1",
    "X-Y: \xb5",
    "Accept: image/avif,image/webp,*/*",
    "Accept: image/webp",
    "accept: text/html\t",
    "Accept: */*, image/avif;q=0",
  ],
  conditions: [
    'If-None-Match: "1"',
    'If-None-Match: W/"1", "x"',
    "If-None-Match: *",
    'if-none-match: W/"w"',
    'If-None-Match: "s"',
    "If-None-Match: junk",
    `If-Modified-Since: ${lastModified}`,
    "If-Modified-Since: Sun, 31 May 2026 00:00:00 GMT",
    "If-Modified-Since: junk",
    'If-Match: "1"',
    'If-Match: "2"',
    "If-Match: *",
    "If-Unmodified-Since: Sun, 31 May 2026 00:00:00 GMT",
    `If-Unmodified-Since: ${lastModified}`,
    "Range: bytes=0-3",
    "Range: bytes=4-",
    "Range: bytes=-3",
    "Range: bytes=2-1",
    "Range: bytes=999999-",
    "Range: bytes=0-0,2-3",
    "Range: lines=1-2",
    "Range:",
    'If-Range: "1"',
    'If-Range: "2"',
    `If-Range: ${lastModified}`,
  ],
};

const odd = {
  targets: ["//", "/%zz", "/a%2fb", "/../a", "/a/./b", "/%00", "/\\", "/a?%", "/?", `/${"l".repeat(3000)}`, "/a|b^c"],
  hosts: [
    "unknown.test",
    "192.0.2.1",
    "[::1]",
    "localhost:80",
    "a b",
    "-",
    "x".repeat(300),
    "img.cdn.test:",
    "\xe4.test",
  ],
  parameters: ["w=0", "w=a", "x=1", "w=20&w=30", "q=101", "f=bmp", "w=20&h", "%zz", "fit=cover&w=20&h=20"],
};

export interface Request {
  method: string;
  target: string;
  host: string;
  /** Field lines, with that of Host. */
  lines: readonly string[];
  /** By default, 1.1. */
  version?: "1.0" | "1.1";
  /** Scheme and authority before the target: `http://a.test`. */
  form?: string;
  body?: string;
  /** The body as it is sent over HTTP/1.1, if it is in chunks. */
  framed?: string;
}

/** The request in HTTP/1.1. */
export function textOf(request: Request): string {
  const { method, form = "", target, version = "1.1", lines: fields, body = "", framed = body } = request;
  return [`${method} ${form}${target} HTTP/${version}`, ...fields, "", ""].join("\r\n") + framed;
}

/** Fields that HTTP/2 does not have (RFC 9113 §8.2.2). */
export const connectionFields: readonly string[] = ["connection", "keep-alive", "transfer-encoding"];

/** The request as HTTP/2 has it, names and values in turn; undefined: it would be malformed. */
export function listOf({ method, target, host, lines: fields }: Request, scheme = "http"): string[] | undefined {
  if (/[ @]|[^\x21-\x7e]/.test(host)) return undefined;
  const list = [":method", method, ":scheme", scheme, ":authority", host, ":path", target];
  for (const line of fields) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    if (name !== "host" && !connectionFields.includes(name)) list.push(name, line.slice(colon + 1).trim());
  }
  return list;
}

export function randomRequest(random: Random): Request {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const some = (list: readonly string[], chance: number): string[] =>
    list.filter(() => random() < chance / list.length);
  const isHead = random() < 0.15;
  const fields = some(lines.any, 1.2);
  let host = random() < 0.9 ? hostName : otherHostName;
  let target: string;
  const kind = random();
  if (kind < 0.5) {
    target = pick(Object.keys(stored));
    if (host === hostName) fields.push(...some(lines.conditions, 0.9));
  } else if (kind < 0.6) {
    target = pick(Object.keys(unstored));
  } else if (kind < 0.7) {
    target = `/first/${Math.floor(random() * firstsMax)}`;
  } else if (kind < 0.9) {
    host = random() < 0.8 ? imagesHostName : pick(["IMG.cdn.TEST", "img.cdn.test.", "img.cdn.test:80", "127.0.0.1"]);
    const parameters =
      random() < 0.8 ? pick(["w=20", "w=30&f=webp", "w=20&f=auto", "", "w=20&h=10"]) : pick(odd.parameters);
    target = `/${pick(["p.jpg", "p.jpg", "q.jpg", "none.jpg"])}${parameters === "" ? "" : "?"}${parameters}`;
    fields.push(...some(lines.conditions, 0.5));
  } else if (kind < 0.95) {
    target = pick(odd.targets);
    host = pick([hostName, imagesHostName]);
  } else {
    target = pick(["/a", "/p.jpg?w=20"]);
    host = pick(odd.hosts);
  }
  if (random() < 0.03) fields.push("Authorization: Basic eDp5");
  fields.splice(Math.floor(random() * (fields.length + 1)), 0, `${random() < 0.8 ? "Host" : "hOST"}: ${host}`);
  return { method: isHead ? "HEAD" : "GET", target, host, lines: fields };
}

/** A response without what may differ: its moment, how long it took, and the number of its request. */
export function comparable({ status, reason, fields, body }: Answer): unknown {
  const isProblem = fields.get("content-type")?.[0]?.startsWith("application/problem+json") === true;
  const told = [...fields].flatMap(([name, values]) => {
    if (name === "date") return [[name]];
    if (name === "server-timing") return [[name, ...values.map((value) => value.replaceAll(/dur=[\d.]+/g, "dur"))]];
    if (name === "content-length" && isProblem) return [[name]];
    return [[name, ...values]];
  });
  const text = body.toString("latin1");
  return { status, reason, told, body: isProblem ? text.replace(/"requestId":"[^"]*"/, "") : text };
}

/**
 * @param lanes stand before the first edge; then both live in the system's time
 * @param certificates with these, both serve HTTPS, too
 */
export async function openBoth(
  t: TestContext,
  lanes?: readonly [SharedLanes, SharedLanes],
  certificates?: readonly ServedCertificate[],
): Promise<[RunningEdge, RunningEdge]> {
  const picture = await photograph(1, { width: 64, height: 48 });
  // A second question to a slow origin would be a matter of the machine's load.
  const secured = certificates === undefined ? {} : { certificates };
  // Two edges in the system's time remember what does not exist for as long as the test runs.
  const imagesHost = { negativeSeconds: 3600 };
  const assetsHost = { hedging: false, ...imagesHost };
  const settings = { host: assetsHost, otherHost: assetsHost, imagesHost, decoders: 1, ...secured };
  const edges = [
    await startEdge(t, { ...settings, lanes: lanes?.[0] }),
    await startEdge(t, { ...settings, lanes: lanes?.[1] }),
  ] as const;
  for (const edge of edges) {
    tellOrigin(edge.origin, picture);
    for (const host of [hostName, otherHostName]) {
      for (const target of Object.keys(stored)) await edge.ask(target, { host });
    }
    for (const parameters of ["?w=20", "?w=20&f=auto"]) await edge.ask(`/p.jpg${parameters}`, { host: imagesHostName });
    await edge.flushed();
  }
  return [...edges];
}

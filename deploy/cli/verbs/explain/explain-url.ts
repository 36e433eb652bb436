/**
 * Formats a node's explanation of a URL (`GET /explain`): first sentences, then every figure; pure. The node may run
 * another release than this command, so missing fields are left out.
 *
 *   host     img.cdn.test, which serves pictures
 *   picture  sample.jpg, 640 px wide, as AVIF
 *   answer   the picture that this node keeps in memory, without asking anybody
 *   why      fresh: validated 12 s ago, for 48 s more
 */
import { inside } from "../../admin-client.ts";
import { timeText } from "../../output.ts";

/** The meaning of each verdict for a client that sends the request now. */
const verdicts: Readonly<Record<string, string>> = {
  fresh: "the copy on this node, without asking anyone",
  "stale-revalidate": "the copy on this node, at once; the origin is asked in the background whether it changed",
  "stale-if-error": "the origin is asked first; the copy on this node is used only if the origin fails",
  expired: "the origin is asked first: the copy on this node is too old",
  miss: "not cached on this node: it is fetched (and a picture rendered), sent and cached",
};

const served: Readonly<Record<string, string>> = {
  images: "which serves pictures",
  assets: "which serves the files of another web server",
};

/** Longer keys do not widen the column of the others. */
const keyLengthMax = 40;
/** Ten times the lines of an explanation. */
const linesMax = 500;

export function urlLines(body: Readonly<Record<string, unknown>>): string[] {
  const rows = [
    ["host", hostText(body)],
    ["picture", pictureText(body)],
    ["answer", answerText(body)],
    ["why", whyText(body)],
  ].filter((row): row is [string, string] => row[1] !== undefined);
  const details = treeLines(body);
  const more = details.length - linesMax;
  return [
    ...rows.map(([key, text]) => `${key.padEnd(7)}  ${text}`),
    "",
    "in detail:",
    ...details.slice(0, linesMax).map((line) => `  ${line}`),
    ...(more > 0 ? [`… and ${more} more lines`] : []),
  ];
}

/**
 * The picture that a URL would show, if the node has never requested it from the origin, or the origin had none.
 * Undefined: the node has it, or the URL is not that of a picture.
 */
export function unknownPicture(body: Readonly<Record<string, unknown>>): string | undefined {
  const source = textOf(body, "source");
  if (textOf(body, "kind") !== "images" || source === undefined) return undefined;
  const isKnown = inside(body, "record") !== null && inside(body, "record", "meaning", "absentStatus") === undefined;
  return isKnown ? undefined : source;
}

function hostText(body: Readonly<Record<string, unknown>>): string | undefined {
  const [host, kind = ""] = [textOf(body, "host"), textOf(body, "kind")];
  return host === undefined ? undefined : [host, served[kind]].filter((part) => part !== undefined).join(", ");
}

function pictureText(body: Readonly<Record<string, unknown>>): string | undefined {
  const source = textOf(body, "source");
  if (source === undefined) return undefined;
  const [width, height] = [inside(body, "variant", "widthPx"), inside(body, "variant", "heightPx")];
  const size = [
    ...(typeof width === "number" ? [`${width} px wide`] : []),
    ...(typeof height === "number" ? [`${height} px high`] : []),
  ].join(" and ");
  const format = textOf(body, "variant", "format");
  const formats: Readonly<Record<string, string>> = {
    source: "in its own format",
    compatible: "in a format that every browser supports",
  };
  const as = format === undefined ? "" : (formats[format] ?? `as ${format.toUpperCase()}`);
  return [source, size, as].filter((part) => part !== "").join(", ");
}

function answerText(body: Readonly<Record<string, unknown>>): string | undefined {
  const location = textOf(body, "redirectsTo");
  if (location !== undefined) return `301 to ${location}`;
  const verdict = textOf(body, "verdict");
  if (verdict === undefined) return undefined;
  const absentStatus = inside(body, "record", "meaning", "absentStatus");
  if (verdict === "fresh" && typeof absentStatus === "number") return `${absentStatus}: there is no such picture`;
  const tier = textOf(body, "tier");
  const where = tier === undefined ? "" : ` (${tier})`;
  return `${verdicts[verdict] ?? verdict}${where}`;
}

function whyText(body: Readonly<Record<string, unknown>>): string | undefined {
  if (textOf(body, "redirectsTo") !== undefined) return "the host redirects HTTP to HTTPS (redirectToHttps)";
  const why = textOf(body, "why");
  const ttlSeconds = inside(body, "use", "ttlSeconds");
  const parts = [
    ...(why === undefined ? [] : [why]),
    ...(typeof ttlSeconds === "number" && ttlSeconds > 0 ? [`fresh for another ${ttlSeconds} s`] : []),
  ];
  return parts.length === 0 ? undefined : parts.join("; ");
}

function textOf(value: unknown, ...steps: readonly string[]): string | undefined {
  const text = inside(value, ...steps);
  return typeof text === "string" && text !== "" ? text : undefined;
}

const isoTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/;

/** Nested values as indented lines, `key  value`. */
function treeLines(value: Readonly<Record<string, unknown>>, indent = ""): string[] {
  const isShown = (inner: unknown): boolean =>
    inner !== null && inner !== undefined && !(Array.isArray(inner) && inner.length === 0);
  const shown = Object.entries(value).filter(([, inner]) => isShown(inner));
  const width = shown.reduce((widest, [key]) => Math.max(widest, Math.min(key.length, keyLengthMax)), 0);
  return shown.flatMap(([key, inner]) => {
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner)) {
      return [`${indent}${key}`, ...treeLines(inner as Record<string, unknown>, `${indent}  `)];
    }
    const text = Array.isArray(inner)
      ? inner.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")
      : typeof inner === "string" && isoTime.test(inner)
        ? timeText(inner)
        : String(inner);
    return [`${indent}${key.padEnd(width)}  ${text}`];
  });
}

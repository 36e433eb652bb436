/**
 * Client of the origin's HTTP API for the verbs: each call has a deadline, and each failure becomes a CommandFailure
 * that says what was tried and what to do next.
 */
import { command } from "#base/command-name.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import { fewInterimResponses } from "#base/interim-responses.ts";
import { parseName } from "#base/source-name.ts";
import { connectionClosed, systemReason } from "#base/system-reason.ts";
import { createReadStream } from "node:fs";
import { Readable } from "node:stream";
import { Agent, type Dispatcher, request } from "undici";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { defaultUrlFrom, isTrialAddress, type OriginPlace } from "./settings.ts";
import { userName } from "./user-name.ts";

/** The origin answers from SQLite within milliseconds; after this time it is stopped or blocked. */
const usualAnswerTimeoutMs = 15_000;
const connectTimeoutMs = 3000;
/**
 * The origin decodes an upload before it answers, which takes at most half a minute, and other uploads may be ahead.
 */
const uploadAnswerTimeoutMs = 300_000;
const bodyBytesMax = 16 * 1024 * 1024;

export interface Answer {
  status: number;
  headers: Readonly<Record<string, string>>;
  /** Parsed JSON, or the text if it is not JSON or nested too deeply; undefined when empty. */
  body: unknown;
}

interface Call {
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** Below `root`, already percent-encoded. */
  path: string;
  /** Default: `/api/v1`. */
  root?: string;
  query?: Readonly<Record<string, string | number | undefined>>;
  headers?: Readonly<Record<string, string>>;
  body?: { json: unknown } | { text: string; type: string } | { file: string; sizeBytes: number; onBytes: OnBytes };
  /** 4xx statuses that the caller does not treat as failures. */
  expect?: readonly number[];
  /** How long the origin may work on this call before it begins to answer; default: the client's. */
  answerTimeoutMs?: number;
  /** The call changes nothing (RFC 9110 §9.2.1), even if its method is not safe. */
  isSafe?: boolean;
}

export type OnBytes = (sentBytes: number) => void;

export interface OriginClient {
  readonly url: string;
  call: (call: Call) => Promise<Answer>;
  close: () => Promise<void>;
}

/** A picture's name as a URL path. Rejects names with `..` and the like: a URL parser would resolve them away. */
export function encodeName(name: string): string {
  const parsed = parseName(name);
  if (!parsed.ok) throw new CommandFailure(exitCodes.usage, `"${name}" is not a picture's name: ${parsed.reason}`);
  return parsed.name.split("/").map(encodeURIComponent).join("/");
}

/** @param settings `answerTimeoutMs`: how long a call without its own deadline waits for its answer */
export function createOriginClient(
  place: OriginPlace,
  { answerTimeoutMs = usualAnswerTimeoutMs }: { answerTimeoutMs?: number } = {},
): OriginClient {
  const agent = new Agent({ connect: { timeout: connectTimeoutMs }, connections: 8, keepAliveTimeout: 1000 });
  let token: string | undefined;

  /** An origin that was never started has not written a token either: then report that the origin is missing. */
  async function readToken(): Promise<string> {
    try {
      return await place.token();
    } catch (error) {
      try {
        await (
          await request(`${place.url}/healthz`, {
            dispatcher: agent,
            headersTimeout: answerTimeoutMs,
            onInfo: fewInterimResponses(),
          })
        ).body.dump();
      } catch (cause) {
        throw asFailure(place, cause, { answerTimeoutMs, lookVerb: undefined });
      }
      throw error;
    }
  }

  async function call(wanted: Call): Promise<Answer> {
    const url = new URL(`${place.url}${wanted.root ?? "/api/v1"}${wanted.path}`);
    for (const [key, value] of Object.entries(wanted.query ?? {})) {
      if (value !== undefined) url.searchParams.set(key, String(value));
    }
    token ??= await readToken();
    const headers: Record<string, string> = {
      ...wanted.headers,
      authorization: `Bearer ${token}`,
      "nearcast-author": authorHeader(),
    };
    const body = bodyOf(wanted.body, headers);
    const isUpload = wanted.body !== undefined && "file" in wanted.body;
    const waits = {
      answerTimeoutMs: wanted.answerTimeoutMs ?? (isUpload ? uploadAnswerTimeoutMs : answerTimeoutMs),
      lookVerb: lookVerbOf(wanted),
    };
    try {
      const response = await request(url, {
        method: wanted.method,
        headers,
        body: body ?? null,
        dispatcher: agent,
        headersTimeout: waits.answerTimeoutMs,
        bodyTimeout: answerTimeoutMs,
        onInfo: fewInterimResponses(),
      });
      const text = await readText(response, place);
      const answer: Answer = { status: response.statusCode, headers: flatHeaders(response.headers), body: parse(text) };
      if (isOfEdge(answer)) throw notAnOrigin(place);
      if (answer.status >= 400 && wanted.expect?.includes(answer.status) !== true) throw refusal(place, answer);
      return answer;
    } catch (error) {
      throw error instanceof CommandFailure ? error : asFailure(place, error, waits);
    }
  }
  return { url: place.url, call, close: async () => await agent.close() };
}

/** The verb that shows whether an unanswered call made its change; undefined: the call changes nothing. */
function lookVerbOf({ method, path, isSafe = method === "GET" || method === "HEAD" }: Call): string | undefined {
  if (isSafe) return undefined;
  return path === "/fleet" || path === "/fleet/rollbacks" ? "fleet releases" : "audit";
}

/** The author recorded with each version. */
function authorHeader(): string {
  return encodeURIComponent(userName()).slice(0, 100);
}

function bodyOf(body: Call["body"], headers: Record<string, string>): Dispatcher.RequestOptions["body"] | undefined {
  if (body === undefined) return undefined;
  if ("json" in body) {
    headers["content-type"] = "application/json";
    return JSON.stringify(body.json);
  }
  if ("text" in body) {
    headers["content-type"] = body.type;
    return body.text;
  }
  headers["content-type"] = "application/octet-stream";
  headers["content-length"] = String(body.sizeBytes);
  return Readable.from(fileChunks(body.file, body.onBytes), { objectMode: false });
}

async function* fileChunks(file: string, onBytes: OnBytes): AsyncGenerator<Buffer> {
  const stream = createReadStream(file, { highWaterMark: 256 * 1024 });
  // Errors here come from the file, not from the connection to the origin.
  const chunks = stream.iterator() as AsyncIterator<Buffer>;
  try {
    for (;;) {
      const next = await chunks.next().catch((error: unknown) => {
        throw new CommandFailure(exitCodes.failed, `${file} can't be read: ${systemReason(error)}`, { cause: error });
      });
      if (next.done === true) return;
      yield next.value;
      onBytes(next.value.length);
    }
  } finally {
    stream.destroy();
  }
}

async function readText(response: Dispatcher.ResponseData, place: OriginPlace): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body) {
    const bytes = chunk as Buffer;
    sizeBytes += bytes.length;
    if (sizeBytes > bodyBytesMax) {
      response.body.destroy();
      throw new CommandFailure(exitCodes.failed, `the answer of ${place.url} is larger than ${bodyBytesMax} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string): unknown {
  if (text === "") return undefined;
  try {
    return parseForeignJson(text);
  } catch {
    return text;
  }
}

function flatHeaders(headers: Dispatcher.ResponseData["headers"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
    ),
  );
}

/** Only a trial on this machine is started with `up`. */
function startHint(url: string): string {
  return isTrialAddress(url)
    ? `Is it running? Start it with: ${command} up (installed as a service: systemctl start nearcast-origin)`
    : "Is it running? On its machine, run: systemctl status nearcast-origin";
}

interface Waits {
  readonly answerTimeoutMs: number;
  /** As in lookVerbOf(). */
  readonly lookVerb: string | undefined;
}

/** An origin that accepts connections but does not answer needs other advice than one that can't be reached. */
function asFailure(place: OriginPlace, error: unknown, waits: Waits): CommandFailure {
  const { code } = error as NodeJS.ErrnoException;
  const seconds = waits.answerTimeoutMs / 1000;
  if (code === "UND_ERR_HEADERS_TIMEOUT")
    return silent(place, error, waits, `accepts connections but did not answer within ${seconds} s`);
  if (code === "UND_ERR_BODY_TIMEOUT") return silent(place, error, waits, "stopped in the middle of its answer");
  return unreachable(place, error, waits);
}

function silent(place: OriginPlace, error: unknown, { lookVerb }: Waits, what: string): CommandFailure {
  const where = isTrialAddress(place.url)
    ? `origin.log in the data directory of \`${command} up\` (installed as a service: journalctl -u nearcast-origin)`
    : "on its machine, run journalctl -u nearcast-origin";
  return new CommandFailure(exitCodes.unreachable, `the origin at ${place.url} ${what}`, {
    code: "NO_ANSWER",
    cause: error,
    lines: [
      lookVerb === undefined
        ? "It is busy or stuck."
        : `It may still be working on this: check with \`${command} ${lookVerb}\` before you try again.`,
      `Its log may say more: ${where}`,
    ],
  });
}

function unreachable(place: OriginPlace, error: unknown, { lookVerb }: Waits): CommandFailure {
  const reason = systemReason(error);
  return new CommandFailure(exitCodes.unreachable, `the origin at ${place.url} can't be reached: ${reason}`, {
    code: "UNREACHABLE",
    cause: error,
    lines: [
      ...(reason === connectionClosed && lookVerb !== undefined
        ? [`The request may have succeeded anyway: check with \`${command} ${lookVerb}\` before you try again.`]
        : []),
      ...(place.advice?.unreachable ?? [
        place.urlFrom === defaultUrlFrom
          ? "Neither --origin nor NEARCAST_ORIGIN was given, so the default address was tried."
          : `The address comes from ${place.urlFrom}.`,
        startHint(place.url),
        "Is it elsewhere? Give its address (--origin URL or NEARCAST_ORIGIN) and its token (--token-file FILE).",
      ]),
    ],
  });
}

/** Codes that an edge answers to the origin's API; an origin never answers them to a call of this command. */
const edgeCodes: readonly unknown[] = ["UNKNOWN_HOST", "METHOD_NOT_ALLOWED"];

function isOfEdge({ status, headers, body }: Answer): boolean {
  if (status < 400) return false;
  const code = typeof body === "object" && body !== null && "code" in body ? body.code : undefined;
  return headers["cache-status"] !== undefined || edgeCodes.includes(code);
}

function notAnOrigin({ url, urlFrom }: OriginPlace): CommandFailure {
  return new CommandFailure(exitCodes.usage, `${url} is an edge, not the origin`, {
    code: "NOT_AN_ORIGIN",
    lines: [`The address comes from ${urlFrom}. Give the address of the origin: --origin URL or NEARCAST_ORIGIN.`],
  });
}

/** What to do about a token that the origin refused. */
function tokenAdvice({ tokenFile, url }: OriginPlace): string {
  const refused = tokenFile === undefined ? "The token" : `The token in ${tokenFile}`;
  return (
    `${refused} is not the writer token of the origin at ${url}. Use the origin's secrets/writer.token: ` +
    "--token-file FILE or NEARCAST_TOKEN_FILE."
  );
}

function refusal(place: OriginPlace, answer: Answer): CommandFailure {
  const problem = (typeof answer.body === "object" && answer.body !== null ? answer.body : {}) as Record<
    string,
    unknown
  >;
  const text = (key: string): string | undefined => {
    const value = problem[key];
    return typeof value === "string" ? value : undefined;
  };
  const code = text("code") ?? `HTTP_${answer.status}`;
  const message = text("detail") ?? text("title") ?? `the origin answered ${answer.status}`;
  const lines = problemsOf(problem);
  const isAboutToken = answer.status === 401 || answer.status === 403;
  if (isAboutToken) {
    lines.push(...(place.advice?.token ?? [tokenAdvice(place)]));
  }
  if (answer.status >= 500)
    lines.push(`The origin at ${place.url} failed; see its log for request ${text("requestId") ?? "?"}.`);
  const reason = isAboutToken ? `${code}, status ${answer.status}` : code;
  return new CommandFailure(answer.status < 500 ? exitCodes.refused : exitCodes.failed, `${message} (${reason})`, {
    code,
    lines,
  });
}

/** The list of problems of a fleet document, one line each. */
function problemsOf(problem: Record<string, unknown>): string[] {
  const problems = problem["problems"];
  if (!Array.isArray(problems)) return [];
  return problems.flatMap((each: unknown) => {
    if (typeof each === "string") return [each];
    const { path, message } = each as { path?: unknown; message?: unknown };
    return typeof message === "string"
      ? [typeof path === "string" && path !== "" ? `${path}: ${message}` : message]
      : [];
  });
}

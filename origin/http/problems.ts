/**
 * The only place where the origin turns failures of requests into responses: application/problem+json (RFC 9457) with a
 * code of the catalogue in node/base/errors.ts, whether a route or Fastify detected it. (Requests that Node's parser
 * can't read never get here: broken-input.ts.)
 */
import { asNearcastError, NearcastError, type Problem, problemOf, type ErrorCode } from "#base/errors.ts";
import type { FailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import type { App } from "./app-type.ts";
import { saysFullDisk } from "../full-disk.ts";
import { letBodyRunOut } from "./request-body.ts";

const mediaType = "application/problem+json";
const fullDiskDetail = "the disk of the origin is full: free some space, then try again";

/** Fastify's own errors that a client causes, by code. All others are 4xx by status, or our fault. */
const fastifyCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_BAD_URL: "BAD_PATH",
  FST_ERR_MAX_PARAM_LENGTH: "URI_TOO_LONG",
  FST_ERR_CTP_BODY_TOO_LARGE: "BODY_TOO_LARGE",
};

/** Where problems are logged: those that are the origin's fault, and for debugging those of its clients. */
export interface ProblemLogs {
  readonly failures: FailureLog;
  readonly log: Log;
}

export function answerProblems(app: App, logs: ProblemLogs): void {
  app.setErrorHandler(async (thrown, request, reply) => await sendProblem(thrown, request, reply, logs));
  const routes: { method: string; matches: (path: string) => boolean }[] = [];
  app.addHook("onRoute", ({ method, url }) => {
    const matches = matcherOf(url);
    for (const each of [method].flat()) routes.push({ method: each, matches });
  });
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.raw.url?.split("?", 1)[0] ?? "";
    const allowed = new Set(routes.filter((route) => route.matches(path)).map((route) => route.method));
    if (allowed.size === 0) {
      return await sendProblem(new NearcastError("NOT_FOUND", "the API has no such path"), request, reply, logs);
    }
    void reply.header("allow", [...allowed].toSorted().join(", "));
    const detail = `the method must be one of ${[...allowed].toSorted().join(", ")} (got ${request.method})`;
    return await sendProblem(new NearcastError("METHOD_NOT_ALLOWED", detail), request, reply, logs);
  });
}

/** Matches a route's pattern: `/*` at its end stands for anything, `:name` for one segment. */
function matcherOf(url: string): (path: string) => boolean {
  if (url.endsWith("/*")) return (path) => path.startsWith(url.slice(0, -1));
  const segments = url.split("/");
  return (path) => {
    const asked = path.split("/");
    return (
      asked.length === segments.length &&
      segments.every((segment, index) => (segment.startsWith(":") ? asked[index] !== "" : asked[index] === segment))
    );
  };
}

/** For `frameworkErrors`: errors that Fastify's router detects before any route or hook. */
export function answerRouterError(logs: ProblemLogs) {
  return (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void => {
    void sendProblem(error, request, reply, logs);
  };
}

async function sendProblem(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  { failures, log }: ProblemLogs,
): Promise<FastifyReply> {
  const error = asOurs(thrown);
  if (error.source !== "client" && error.status >= 500) {
    const facts = { err: error, requestId: request.id, route: request.routeOptions.url };
    failures.error(error.code, facts, "a request failed");
  } else log.debug({ code: error.code, detail: error.message, requestId: request.id }, "a request was refused");
  letBodyRunOut(request.raw, reply.raw);
  if (error.status === 503) void reply.header("retry-after", "1");
  if (error.code === "REQUEST_TIMEOUT") void reply.header("connection", "close");
  return await reply
    .code(error.status)
    .header("x-request-id", request.id)
    .header("cache-control", "no-store")
    .header("content-type", mediaType)
    .serializer(JSON.stringify)
    .send(problemFor(error, request.id));
}

/** The client's operators can fix a full disk, and the message reveals nothing about this machine. */
function problemFor(error: NearcastError, requestId: string): Problem {
  const problem = problemOf(error, requestId);
  return error.code === "DISK_FAILED" && saysFullDisk(error) ? { ...problem, detail: fullDiskDetail } : problem;
}

function asOurs(thrown: unknown): NearcastError {
  if (thrown instanceof NearcastError) return thrown;
  const error = thrown as Partial<FastifyError>;
  if (error.validation !== undefined) {
    const code = error.validationContext === "querystring" ? "BAD_PARAMETER" : "BAD_REQUEST";
    return new NearcastError(code, error.message ?? "", { cause: thrown });
  }
  const known = fastifyCodes[error.code ?? ""];
  if (known !== undefined) return new NearcastError(known, error.message ?? "", { cause: thrown });
  const status = error.statusCode ?? 500;
  if (status >= 400 && status < 500) return new NearcastError("BAD_REQUEST", error.message ?? "", { cause: thrown });
  if (saysFullDisk(thrown)) return new NearcastError("DISK_FAILED", (thrown as Error).message, { cause: thrown });
  return asNearcastError(thrown);
}

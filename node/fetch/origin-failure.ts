/** Translates failures between this edge and an origin into the error catalogue. Pure. */
import { asNearcastError, NearcastError } from "#base/errors.ts";
import { TooManyInterimResponses } from "#base/interim-responses.ts";
import { codeReason, systemReason } from "#base/system-reason.ts";
import { ConnectFailure } from "./upstream/connect.ts";

/** The response is invalid, however often it is requested. */
const badAnswerCodes = new Set(["UND_ERR_HEADERS_OVERFLOW", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH"]);

/**
 * @param thrown by undici, by the system, or a NearcastError, which stays as it is
 * @param name the origin's, for the message
 */
export function originFailure(thrown: unknown, name: string): NearcastError {
  if (thrown instanceof NearcastError) return thrown;
  if (thrown instanceof ConnectFailure) {
    const reason = thrown.isTimeout ? "the connection timed out" : systemReason(thrown.cause);
    return new NearcastError("ORIGIN_UNREACHABLE", `${name}: ${reason}`, { cause: thrown.cause });
  }
  const error = thrown as { name?: string; code?: string; message?: string };
  const code = error.code ?? "";
  if (/TIMED?OUT/.test(code) || error.name === "TimeoutError") {
    return new NearcastError("ORIGIN_TIMEOUT", `${name}: ${systemReason(thrown)}`, { cause: thrown });
  }
  if (badAnswerCodes.has(code) || thrown instanceof TooManyInterimResponses) {
    return new NearcastError("ORIGIN_BAD_ANSWER", `${name}: ${error.message ?? code}`, { cause: thrown });
  }
  // What undici's parser rejects is not HTTP; the error's own code is one of the parser's.
  if (error.name === "HTTPParserError") {
    return new NearcastError("ORIGIN_BAD_ANSWER", `${name}: the response is not HTTP (${error.message ?? ""})`, {
      cause: thrown,
    });
  }
  // UND_ERR_INVALID_ARG is a mistake of this program, which must not be blamed on the origin.
  if ((code !== "" && code !== "UND_ERR_INVALID_ARG") || error.name === "SocketError") {
    const reason = code === "" ? systemReason(thrown) : codeReason(code);
    const words = reason === code ? (error.message ?? code) : reason;
    return new NearcastError("ORIGIN_UNREACHABLE", `${name}: ${words}`, { cause: thrown });
  }
  return asNearcastError(thrown);
}

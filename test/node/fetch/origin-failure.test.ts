import assert from "node:assert/strict";
import { test } from "node:test";
import { NearcastError } from "#base/errors.ts";
import { TooManyInterimResponses } from "#base/interim-responses.ts";
import { originFailure } from "../../../node/fetch/origin-failure.ts";
import { ConnectFailure } from "../../../node/fetch/upstream/connect.ts";

const failure = (about: object): Error => Object.assign(new Error("x"), about);

test("the system's failures, in the catalogue's codes and in plain words", () => {
  const refused = new ConnectFailure(failure({ code: "ECONNREFUSED" }), false);
  const expired = new ConnectFailure(
    Object.assign(new Error("certificate has expired"), { code: "CERT_HAS_EXPIRED" }),
    false,
  );
  const rows: [thrown: Error, code: string, message: string][] = [
    [refused, "ORIGIN_UNREACHABLE", "o.test: connection refused"],
    [expired, "ORIGIN_UNREACHABLE", "o.test: certificate has expired"],
    [new ConnectFailure(new Error("late"), true), "ORIGIN_UNREACHABLE", "o.test: the connection timed out"],
    [failure({ name: "TimeoutError" }), "ORIGIN_TIMEOUT", "o.test: it did not answer in time"],
    [failure({ code: "ETIMEDOUT" }), "ORIGIN_TIMEOUT", "o.test: the connection timed out"],
    [failure({ code: "UND_ERR_BODY_TIMEOUT" }), "ORIGIN_TIMEOUT", "o.test: it stopped in the middle of its answer"],
    [
      failure({ name: "SocketError", code: "UND_ERR_SOCKET" }),
      "ORIGIN_UNREACHABLE",
      "o.test: the connection was closed before it answered",
    ],
    [failure({ code: "ENOTFOUND" }), "ORIGIN_UNREACHABLE", "o.test: the host name has no address"],
    [failure({ code: "EODD", message: "odd" }), "ORIGIN_UNREACHABLE", "o.test: odd"],
    [
      failure({ name: "HTTPParserError", code: "HPE_INVALID_CONSTANT", message: "Expected HTTP/" }),
      "ORIGIN_BAD_ANSWER",
      "o.test: the response is not HTTP (Expected HTTP/)",
    ],
    [
      failure({ code: "UND_ERR_HEADERS_OVERFLOW", message: "Headers Overflow Error" }),
      "ORIGIN_BAD_ANSWER",
      "o.test: Headers Overflow Error",
    ],
    [new TooManyInterimResponses(), "ORIGIN_BAD_ANSWER", "o.test: more than 16 interim responses (1xx)"],
    [failure({ code: "UND_ERR_INVALID_ARG" }), "INTERNAL", "x"],
    [new TypeError("x is not a function"), "INTERNAL", "x is not a function"],
    [new NearcastError("BODY_TOO_LARGE", "as it is"), "BODY_TOO_LARGE", "as it is"],
  ];
  for (const [thrown, code, message] of rows) {
    const error = originFailure(thrown, "o.test");
    assert.deepEqual([error.code, error.message], [code, message]);
  }
});

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  asNearcastError,
  type ErrorCode,
  errorCatalogue,
  NearcastError,
  problemOf,
  withoutStack,
} from "#base/errors.ts";

const codes = Object.keys(errorCatalogue) as ErrorCode[];

test("no problem of a 5xx says anything of this machine; those of a 4xx say what happened", () => {
  for (const code of codes) {
    const error = new NearcastError(code, "/etc/secret at 10.0.0.1", {
      cause: new Error("inner"),
      facts: { path: "/x" },
    });
    const problem = problemOf(error, "id1");
    assert.equal(problem.status, errorCatalogue[code].status, code);
    assert.equal(problem.code, code);
    assert.equal(problem.requestId, "id1");
    const text = JSON.stringify(problem);
    if (problem.status >= 500) assert(!/secret|10\.0|inner|"\/x"/.test(text), text);
    else assert(problem.detail === error.message && problem["path"] === "/x", text);
    assert(!text.includes("inner"), "a cause is never told");
  }
});

test("a fact can't change what the catalogue says", () => {
  const facts = { status: 200, code: "INTERNAL", requestId: "other", type: "x", title: "y", more: 1 };
  const problem = problemOf(new NearcastError("NOT_FOUND", "no", { facts }), "id1");
  assert.equal(problem.status, 404);
  assert.equal(problem.code, "NOT_FOUND");
  assert.equal(problem.requestId, "id1");
  assert.equal(problem["more"], 1);
});

test("an unknown thing that was thrown becomes INTERNAL and keeps its cause", () => {
  const thrown = new TypeError("x is not a function");
  const error = asNearcastError(thrown);
  assert.equal(error.code, "INTERNAL");
  assert.equal(error.cause, thrown);
  assert.equal(asNearcastError("text").message, "text");
  const own = new NearcastError("CONFLICT", "no");
  assert.equal(asNearcastError(own), own);
});

test("failures of the origin say so and may be tried again, unless an operator must help; a client's may not", () => {
  for (const code of codes) {
    const { source, retryable } = new NearcastError(code, "");
    if (source === "client") assert(!retryable, code);
    // The same token would be refused again, and so would the same address.
    const isSettled = code === "ORIGIN_REFUSED" || code === "ORIGIN_NOT_ALLOWED";
    if (source === "origin") assert.equal(retryable, !isSettled, code);
  }
});

test("only failures of this program have a stack, and Error.stackTraceLimit stays as it was", () => {
  const limit = Error.stackTraceLimit;
  for (const code of codes) {
    const frames = new NearcastError(code, "detail").stack?.split("\n    at ").slice(1) ?? [];
    const isOurs = code === "INTERNAL" || code === "DISK_FAILED" || code === "CANNOT_LISTEN";
    assert.equal(frames.length > 0, isOurs, code);
  }
  assert.throws(() => withoutStack(() => assert.fail("made badly")), /made badly/);
  assert.equal(withoutStack(() => new Error("left")).stack, "Error: left");
  assert.equal(Error.stackTraceLimit, limit);
});

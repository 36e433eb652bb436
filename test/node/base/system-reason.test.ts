import assert from "node:assert/strict";
import { test } from "node:test";
import { systemReason } from "#base/system-reason.ts";

test("codes of the system and of the HTTP client are reported in words", () => {
  const failed = (code: string): Error => Object.assign(new Error(`${code}: detail`), { code });
  assert.equal(systemReason(failed("ENOENT")), "no such file");
  assert.equal(systemReason(failed("ECONNREFUSED")), "connection refused");
  assert.equal(systemReason(failed("EUNHEARDOF")), "EUNHEARDOF: detail");
  assert.equal(systemReason(new AggregateError([failed("EHOSTUNREACH"), failed("ETIMEDOUT")])), "no route to the host");
  assert.equal(
    systemReason(AbortSignal.abort(new DOMException("late", "TimeoutError")).reason),
    "it did not answer in time",
  );
  assert.equal(systemReason("text"), "text");
});

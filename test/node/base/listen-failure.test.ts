/** The text that says which address can't be listened on, and why. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { listenFailure } from "../../../node/base/listen-failure.ts";

test("names what was to listen, where, and the reason in words; keeps the cause", () => {
  const cause = Object.assign(new Error("listen EADDRINUSE: address already in use 127.0.0.1:80"), {
    code: "EADDRINUSE",
  });
  const failure = listenFailure("HTTP", { host: "127.0.0.1", port: 80 }, cause);
  assert.equal(failure.code, "CANNOT_LISTEN");
  assert.equal(failure.message, "can't listen for HTTP on 127.0.0.1 port 80: the address is in use");
  assert.equal(failure.cause, cause);
});

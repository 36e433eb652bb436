import assert from "node:assert/strict";
import { test } from "node:test";
import { type ProbeClient, openProbeClient } from "../../../node/fetch/probe.ts";
import { answering, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";

/** Announces more than it sends. */
const cutOff: Script = (_request, response) => {
  response.writeHead(200, { "content-length": "20" });
  response.write("{", () => response.destroy());
};

test("what a probe makes of each answer; it never throws", async (t) => {
  const rows: [what: string, script: Script, wanted: RegExp][] = [
    ["ready", answering(200, {}, '{"state":"ready"}'), /^ready$/],
    ["draining", answering(503, {}, '{"state":"draining"}'), /^draining$/],
    ["starting", answering(503, {}, '{"state":"starting"}'), /^failed: status 503$/],
    ["not there", answering(404, {}), /^failed: status 404$/],
    ["a redirect", answering(302, { location: "/ok" }), /^failed: status 302$/],
    ["a body without end", answering(200, {}, "x".repeat(100_000)), /^failed: BODY_TOO_LARGE$/],
    ["no answer", () => undefined, /^failed: timeout$/],
    ["a header and then silence", (_request, response) => void response.writeHead(200).write("{"), /^failed: timeout$/],
    ["no HTTP", (_request, response) => void response.socket?.end("SSH-2.0-x\r\n"), /^failed: .*HTTP/],
    ["half an answer", cutOff, /^failed: UND_ERR_SOCKET$/],
    ["a broken connection", (_request, response) => void response.destroy(), /^failed: UND_ERR_SOCKET$/],
  ];
  const client: ProbeClient = openProbeClient();
  t.after(() => client.close());
  for (const [what, script, wanted] of rows) {
    const origin = await startLoopbackOrigin(t, script);
    const result = await client.probe(
      `${origin.url}/.nearcast/health`,
      what.includes("silence") || what === "no answer" ? 100 : 2000,
    );
    assert.match(result.outcome === "failed" ? `failed: ${result.reason}` : result.outcome, wanted, what);
    // Whatever it was, the next probe is a fresh judgement.
    origin.script(answering(200, {}, "{}"));
    assert.equal((await client.probe(`${origin.url}/.nearcast/health`, 2000)).outcome, "ready", `after ${what}`);
  }
  const refused = await client.probe("http://127.0.0.1:1/", 1000);
  assert.deepEqual(refused, { outcome: "failed", reason: "ECONNREFUSED" });
});

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

test("what a node says of its load and share is taken only where it can be so", async (t) => {
  const client = openProbeClient();
  t.after(() => client.close());
  const origin = await startLoopbackOrigin(t, answering(200, {}));
  const rows: [said: string, word: object][] = [
    ['{"requestsPerSecond":12.5,"keptShare":0.8}', { load: 12.5, keptShare: 0.8 }],
    ['{"requestsPerSecond":0}', { load: 0 }],
    ['{"requestsPerSecond":1000000000}', { load: 1_000_000_000 }],
    ['{"requestsPerSecond":1000000001}', {}],
    ['{"requestsPerSecond":1e999}', {}],
    ['{"requestsPerSecond":-1}', {}],
    ['{"requestsPerSecond":"12"}', {}],
    ['{"requestsPerSecond":null}', {}],
    ['{"requestsPerSecond":[1]}', {}],
    ['{"requestsPerSecond":NaN}', {}],
    ['{"keptShare":0.05}', { keptShare: 0.05 }],
    ['{"keptShare":1}', { keptShare: 1 }],
    ['{"keptShare":0.04}', {}],
    ['{"keptShare":1.01}', {}],
    ['{"keptShare":true,"requestsPerSecond":3}', { load: 3 }],
    ['{"__proto__":{"requestsPerSecond":3}}', {}],
    ["[12]", {}],
    ["12", {}],
    ["null", {}],
    ['"draining"', {}],
    ["", {}],
    ["{", {}],
  ];
  for (const [said, word] of rows) {
    origin.script(answering(200, {}, said));
    assert.deepEqual(await client.probe(origin.url, 2000), { outcome: "ready", ...word }, said);
  }
  origin.script(answering(503, {}, '{"state":"draining","requestsPerSecond":7}'));
  assert.deepEqual(await client.probe(origin.url, 2000), { outcome: "draining", load: 7 });
  for (const said of ['{"state":"starting","note":"draining"}', '"draining"', '{"state":["draining"]}', "draining"]) {
    origin.script(answering(503, {}, said));
    assert.deepEqual(await client.probe(origin.url, 2000), { outcome: "failed", reason: "status 503" }, said);
  }
});

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { systemClock } from "#base/clock.ts";
import { createProofs, askField, proofField } from "#health/health-proof.ts";
import { openProbeClient, type ProbeClient } from "../../../node/fetch/http-probe.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { answering, type Script, startLoopbackOrigin } from "../../support/loopback-origin.ts";

const [secret, other] = [randomBytes(32), randomBytes(32)];
const at = (http: string) => ({ name: "fra1", http });

/** Announces more than it sends. */
const cutOff: Script = (_request, response) => {
  response.writeHead(200, { "content-length": "20" });
  response.write("{", () => response.destroy());
};

test("what a probe makes of each answer; it never throws", async (t) => {
  const rows: [what: string, script: Script, wanted: RegExp][] = [
    ["ready", answering(200, {}, '{"state":"ready"}'), /^ready$/],
    ["draining", answering(503, {}, '{"state":"draining"}'), /^draining$/],
    ["starting", answering(503, {}, '{"state":"starting"}'), /^failed: starting$/],
    ["not there", answering(404, {}), /^failed: status 404$/],
    ["a redirect", answering(302, { location: "/ok" }), /^failed: status 302$/],
    ["no answer", () => undefined, /^failed: no answer within 100 ms$/],
    [
      "a header and then silence",
      (_request, response) => void response.writeHead(200).write("{"),
      /^failed: no answer within 100 ms$/,
    ],
    ["no HTTP", (_request, response) => void response.socket?.end("SSH-2.0-x\r\n"), /^failed: .*HTTP/],
    ["half an answer", cutOff, /^failed: the connection was closed before it answered$/],
    [
      "a broken connection",
      (_request, response) => void response.destroy(),
      /^failed: the connection was closed before it answered$/,
    ],
  ];
  const client: ProbeClient = openProbeClient({ secrets: () => [], clock: systemClock });
  t.after(() => client.close());
  for (const [what, script, wanted] of rows) {
    const origin = await startLoopbackOrigin(t, script);
    const result = await client.probe(at(origin.url), what.includes("silence") || what === "no answer" ? 100 : 2000);
    assert.match(result.outcome === "failed" ? `failed: ${result.reason}` : result.outcome, wanted, what);
    // Whatever it was, the next probe is a fresh judgement.
    origin.script(answering(200, {}, "{}"));
    assert.equal((await client.probe(at(origin.url), 2000)).outcome, "ready", `after ${what}`);
  }
  const refused = await client.probe(at("http://127.0.0.1:1/"), 1000);
  assert.deepEqual(refused, { outcome: "failed", reason: "connection refused" });
});

/** A node that signs what it says with this secret. */
function signing(secretOfNode: Uint8Array, status: number, body: string): Script {
  const proofs = createProofs(() => [secretOfNode]);
  return ({ headers }, response) => {
    const sign = proofs.signerFor(headers[askField]);
    response.writeHead(status, sign === undefined ? {} : { [proofField]: sign(status, body) });
    response.end(body);
  };
}

test("a node that floods instead of answering is not asked for half a minute, and others are", async (t) => {
  const clock = fakeClock();
  const client = openProbeClient({ secrets: () => [], clock });
  t.after(() => client.close());
  let asked = 0;
  const flooding: Script = (_request, response) => {
    asked += 1;
    response.end("x".repeat(300_000));
  };
  const [flood, calm] = [
    await startLoopbackOrigin(t, flooding),
    await startLoopbackOrigin(t, answering(200, {}, "{}")),
  ];
  const flooded = { outcome: "failed", reason: "sends far more than an answer" };
  for (const _ of [1, 2, 3]) assert.deepEqual(await client.probe(at(flood.url), 2000), flooded);
  assert.equal(asked, 1);
  assert.equal((await client.probe(at(calm.url), 2000)).outcome, "ready");
  flood.script(answering(200, {}, "{}"));
  clock.advance(29_999);
  assert.deepEqual(await client.probe(at(flood.url), 2000), flooded);
  clock.advance(1);
  assert.equal((await client.probe(at(flood.url), 2000)).outcome, "ready");
});

test("with a fleet secret only proven answers count, of the very node that was asked", async (t) => {
  const said = '{"node":"fra1","state":"draining","word":{"load":12.5}}';
  const misnamed = said.replace("fra1", "nyc1");
  const answer = { load: 12.5 };
  const unproven = { outcome: "failed", reason: "answers without proof", isUnproven: true };
  const ofAnother = (node: string) => ({ ...unproven, reason: `answers with the proof of another node, ${node}` });
  const rows: [what: string, secrets: Uint8Array[], script: Script, wanted: object][] = [
    ["proven", [secret], signing(secret, 200, said), { outcome: "ready", answer }],
    ["proven, draining", [secret], signing(secret, 503, said), { outcome: "draining", answer }],
    ["proven with the secret before", [other, secret], signing(secret, 200, said), { outcome: "ready", answer }],
    ["proven without a word", [secret], signing(secret, 200, '{"node":"fra1"}'), { outcome: "ready" }],
    ["a plain web server", [secret], answering(200, {}, "<html>"), unproven],
    ["without proof", [secret], answering(200, {}, said), unproven],
    ["draining without proof", [secret], answering(503, {}, said), unproven],
    ["of another fleet", [secret], signing(other, 200, said), unproven],
    ["another node", [secret], signing(secret, 200, misnamed), ofAnother("nyc1")],
    ["another node, draining", [secret], signing(secret, 503, misnamed), ofAnother("nyc1")],
    ["proven, and nobody", [secret], signing(secret, 200, "{}"), ofAnother("undefined")],
    ["proven, and a list", [secret], signing(secret, 200, '{"node":["fra1"]}'), ofAnother("fra1")],
    ["a fleet without a secret", [], answering(200, {}, said), { outcome: "ready" }],
    ["a fleet without a secret, draining", [], answering(503, {}, said), { outcome: "draining" }],
    ["asked without a secret", [], signing(secret, 200, said), { outcome: "ready" }],
  ];
  for (const [what, secrets, script, wanted] of rows) {
    const origin = await startLoopbackOrigin(t, script);
    const client = openProbeClient({ secrets: () => secrets, clock: systemClock });
    t.after(() => client.close());
    assert.deepEqual(await client.probe(at(origin.url), 2000), wanted, what);
    assert.equal(origin.asked[0]?.target, "/.nearcast/health");
    assert.equal(origin.asked[0]?.headers[askField] !== undefined, secrets.length > 0, what);
  }
});

test("an answer with a wrong proof is nobody's: altered, of another status, replayed, or nonsense", async (t) => {
  const client = openProbeClient({ secrets: () => [secret], clock: systemClock });
  t.after(() => client.close());
  const origin = await startLoopbackOrigin(t, answering(200, {}));
  const body = '{"node":"fra1","state":"ready","word":{"unreachable":[]}}';
  const proofs = createProofs(() => [secret]);
  let old: string | undefined;
  const altered: Script = ({ headers }, response) => {
    old = proofs.signerFor(headers[askField])?.(200, body) ?? "";
    response.writeHead(200, { [proofField]: old }).end(body.replace("[]", '["nyc1"]'));
  };
  const otherStatus: Script = ({ headers }, response) => {
    const proof = proofs.signerFor(headers[askField])?.(200, body) ?? "";
    response.writeHead(503, { [proofField]: proof }).end(body);
  };
  const replayed: Script = (_asked, response) => void response.writeHead(200, { [proofField]: old ?? "" }).end(body);
  const wrong = { outcome: "failed", reason: "answers with a wrong proof", isUnproven: true };
  for (const script of [
    altered,
    otherStatus,
    replayed,
    answering(200, { [proofField]: "" }, body),
    answering(200, { [proofField]: "x".repeat(43) }, body),
    answering(200, { [proofField]: ["a", "b"] }, body),
  ]) {
    origin.script(script);
    assert.deepEqual(await client.probe(at(origin.url), 2000), wrong);
  }
  origin.script(signing(secret, 200, body));
  assert.equal((await client.probe(at(origin.url), 2000)).outcome, "ready");
});

test("what only looks like draining is a failure", async (t) => {
  const client = openProbeClient({ secrets: () => [], clock: systemClock });
  t.after(() => client.close());
  const origin = await startLoopbackOrigin(t, answering(200, {}));
  for (const said of ['{"state":"other","note":"draining"}', '"draining"', '{"state":["draining"]}', "draining"]) {
    origin.script(answering(503, {}, said));
    assert.deepEqual(await client.probe(at(origin.url), 2000), { outcome: "failed", reason: "status 503" }, said);
  }
});

test("attempts overlap: one that is stuck holds up no other, and sixteen may be under way", async (t) => {
  const client = openProbeClient({ secrets: () => [], clock: systemClock });
  t.after(() => client.close());
  let asked = 0;
  const origin = await startLoopbackOrigin(t, (_request, response) => {
    asked += 1;
    if (asked > 12) response.end("{}");
  });
  const stuck = Array.from({ length: 12 }, () => client.probe(at(origin.url), 3000));
  assert.equal((await client.probe(at(origin.url), 3000)).outcome, "ready");
  for (const result of await Promise.all(stuck))
    assert.deepEqual(result, { outcome: "failed", reason: "no answer within 3000 ms" });
});

/**
 * Who answers at a node's address is not yet that node: an edge believes what proves to be it. A real edge probes two
 * more nodes; at the address of one of them stands, one after the other, that node, a plain web server, one that says
 * `draining`, a relay to the other node, one that repeats an old proof, and that node again.
 */
import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { askField, createProofs, proofField } from "#health/health-proof.ts";
import { ask } from "../support/ask.ts";
import { places, startWorld, until, type World } from "../support/world.ts";

const healthPath = "/.nearcast/health";
const port = 8080;
const newYork = "8.8.8.0/24";

interface Seen {
  name: string;
  state: string;
  reason: string;
  isUnproven?: boolean;
}

/** What the real edge says of nyc1, and of its site. */
async function seenOf(world: World): Promise<{ site: string; node: Seen }> {
  const { sites } = (await world.edge("fra").status()) as { sites: { name: string; state: string; nodes: Seen[] }[] };
  const nyc = sites.find(({ name }) => name === "nyc");
  assert(nyc?.nodes[0] !== undefined);
  return { site: nyc.state, node: nyc.nodes[0] };
}

async function answers(t: TestContext, address: string, listener: RequestListener) {
  let asked = 0;
  const server = createServer((request, response) => {
    if (request.url === healthPath) asked += 1;
    listener(request, response);
  });
  server.listen(port, address);
  await once(server, "listening");
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  t.after(close);
  return { asked: () => asked, close };
}

/** A node that knows the secret. */
function honest(node: string, secret: Uint8Array): RequestListener {
  const proofs = createProofs(() => [secret]);
  return (request, response) => {
    const body = JSON.stringify({ node, state: "ready", fleetVersion: 2, word: {} });
    const sign = proofs.signerFor(request.headers[askField]);
    response.writeHead(200, sign === undefined ? {} : { [proofField]: sign(200, body) }).end(body);
  };
}

test("who answers in a node's place without its proof is not believed, and status says so", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const fra = world.edge("fra");
  const at = (last: number): string => fra.address.replace(/\d+$/, String(last));
  const [nyc, tyo] = [at(51), at(52)];
  const site = (name: "nyc" | "tyo", address: string) => ({
    name,
    place: places[name],
    addresses: [address],
    nodes: [{ name: `${name}1`, http: `http://${address}:${port}` }],
  });
  const { current } = JSON.parse(await readFile(join(world.directory, "fra", "secret.json"), "utf8")) as {
    current: string;
  };
  const secret = Buffer.from(current, "base64url");
  await answers(t, tyo, honest("tyo1", secret));
  const first = await answers(t, nyc, honest("nyc1", secret));
  const before = world.fleet() as { sites: object[] };
  const fleet = { ...before, sites: [...before.sites, site("nyc", nyc), site("tyo", tyo)] };
  await world.api("PUT", "/fleet", Buffer.from(JSON.stringify(fleet)));
  const named = async (): Promise<string> => {
    return (await ask(fra.dns, "img.cdn.test", { subnet: newYork })).addresses.join();
  };
  await until("clients in New York are sent to nyc", async () => (await named()) === nyc);
  await first.close();

  /** Asks the other node what was asked here. */
  const relayed = async (headers: IncomingHttpHeaders): Promise<Response> =>
    await fetch(`http://${tyo}:${port}${healthPath}`, { headers: { [askField]: String(headers[askField]) } });
  let old: { proof: string; body: string } | undefined;
  const relay: RequestListener = (request, response) => {
    const answer = async (): Promise<void> => {
      const living = await relayed(request.headers);
      old = { proof: living.headers.get(proofField) ?? "", body: await living.text() };
      response.writeHead(living.status, { [proofField]: old.proof }).end(old.body);
    };
    void answer();
  };
  const forged = JSON.stringify({ node: "nyc1", site: "nyc", state: "draining", fleetVersion: 1 });
  const rows: [what: string, listener: RequestListener, reason: RegExp][] = [
    ["a plain web server", (_request, response) => void response.end("<html>hello</html>"), /answers without proof$/],
    ["draining", (_request, response) => void response.writeHead(503).end(forged), /answers without proof$/],
    ["a relay to tyo1", relay, /answers with the proof of another node, tyo1$/],
    [
      "an old proof",
      (_request, response) => void response.writeHead(200, { [proofField]: old?.proof ?? "" }).end(old?.body),
      /answers with a wrong proof$/,
    ],
  ];
  for (const [what, listener, reason] of rows) {
    await t.test(what, async (step) => {
      const impostor = await answers(step, nyc, listener);
      // Two answers in a row would bring back a node that proves itself; seven failures take one down.
      await until("it was probed often", async () => impostor.asked() >= 8);
      await until("status says why", async () => reason.test((await seenOf(world)).node.reason));
      const { site: siteState, node } = await seenOf(world);
      assert.deepEqual([siteState, node.state, node.isUnproven], ["down", "down", true]);
      assert.equal((await fra.metrics()).get("nearcast_nodes_unproven"), 1);
      assert.notEqual(await named(), nyc);
      step.diagnostic(`${node.name}: ${node.reason}`);
      await impostor.close();
    });
  }

  await t.test("the node itself is believed as soon as it is back", async (step) => {
    await answers(step, nyc, honest("nyc1", secret));
    await until("nyc is up", async () => (await seenOf(world)).node.state === "up");
    assert.equal((await seenOf(world)).node.isUnproven, undefined);
    assert.equal((await fra.metrics()).get("nearcast_nodes_unproven"), 0);
    await until("clients in New York are sent there", async () => (await named()) === nyc);
  });
});

/**
 * Who takes over a dead node's address is not that node: it answers probes, but can't prove that it is of the fleet.
 * Three real edges; one is killed, and its address is taken by a plain web server, by a relay to the other edge, by one
 * that repeats old proofs, and by one that says `draining`.
 */
import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { once } from "node:events";
import { test, type TestContext } from "node:test";
import { proofField } from "#fleet/proof.ts";
import { ask } from "../support/ask.ts";
import { startWorld, until, type World, type WorldEdge } from "../support/world.ts";

const healthPath = "/.nearcast/health";
const newYork = "8.8.8.0/24";

interface Seen {
  state: string;
  reason: string;
  isUnproven?: boolean;
}

/** What fra1 says of nyc1, and of its site. */
async function seenOf(world: World): Promise<{ site: string; node: Seen }> {
  const { sites } = (await world.edge("fra").status()) as { sites: { name: string; state: string; nodes: Seen[] }[] };
  const nyc = sites.find(({ name }) => name === "nyc");
  assert(nyc?.nodes[0] !== undefined);
  return { site: nyc.state, node: nyc.nodes[0] };
}

/** Takes the address of a node that is gone; `asked` counts the probes that came. */
async function takeOver({ address }: WorldEdge, listener: RequestListener) {
  let asked = 0;
  const server = createServer((request, response) => {
    if (request.url === healthPath) asked += 1;
    listener(request, response);
  });
  server.listen(8080, address);
  await once(server, "listening");
  return {
    asked: () => asked,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function answersOf(world: World, t: TestContext): Promise<string[]> {
  const { addresses } = await ask(world.edge("fra").dns, "img.cdn.test", { subnet: newYork });
  t.diagnostic(`a client in New York gets ${addresses.join(" ")}`);
  return addresses;
}

test("whoever answers in a node's place without its proof is not believed, and told by status", async (t) => {
  const world = await startWorld(t, ["fra", "nyc", "tyo"]);
  const [fra, nyc] = [world.edge("fra"), world.edge("nyc")];
  await until("both are up", async () => (await seenOf(world)).node.state === "up");
  await until("New York is answered by nyc", async () => {
    return (await answersOf(world, t)).join() === nyc.address;
  });
  await nyc.program().kill();
  await until("nyc is down", async () => (await seenOf(world)).site === "down");

  /** Asks the living node what was asked here. */
  const relayed = async (headers: IncomingHttpHeaders): Promise<Response> => {
    const fields = Object.entries(headers).filter(([name]) => name.startsWith("nearcast-"));
    return await fetch(`${fra.url}${healthPath}`, { headers: fields.map(([name, value]) => [name, String(value)]) });
  };
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
    ["a relay to fra1", relay, /answers with the proof of another node, fra1$/],
    [
      "an old proof",
      (_request, response) => void response.writeHead(200, { [proofField]: old?.proof ?? "" }).end(old?.body),
      /answers with a wrong proof$/,
    ],
  ];
  for (const [what, listener, reason] of rows) {
    await t.test(what, async (step) => {
      const impostor = await takeOver(nyc, listener);
      try {
        // Two answers in a row would bring a node back that proves itself.
        await until("it was probed often", async () => impostor.asked() >= 8);
        await until("status says why", async () => reason.test((await seenOf(world)).node.reason));
        const { site, node } = await seenOf(world);
        assert.deepEqual([site, node.state, node.isUnproven], ["down", "down", true]);
        assert.equal((await fra.metrics()).get("nearcast_nodes_unproven"), 1);
        assert.deepEqual(await answersOf(world, step), [fra.address]);
        step.diagnostic(`nyc1: ${node.reason}`);
      } finally {
        await impostor.close();
      }
    });
  }

  await t.test("the node itself is believed as soon as it is back", async () => {
    await nyc.start();
    await until("nyc is up", async () => (await seenOf(world)).node.state === "up");
    const { node } = await seenOf(world);
    assert.equal(node.isUnproven, undefined);
    assert.equal((await fra.metrics()).get("nearcast_nodes_unproven"), 0);
  });
});

/**
 * A fleet whose nodes serve HTTPS: one by itself, one behind a TLS proxy of somebody else. Each is up for the other as
 * long as its HTTPS answers, whatever its HTTP does.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { request as requestPlain } from "node:http";
import { createServer, get } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { certificateFor, testAuthority, writePair } from "../support/certificates.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { startWorld, until, type WorldEdge } from "../support/world.ts";

/** A TLS proxy that passes everything on to an edge. */
async function startProxy(t: TestContext): Promise<{ url: string; to: { url: string }; close: () => void }> {
  const { certificatePem, keyPem } = await certificateFor(["img.cdn.test"]);
  const to = { url: "" };
  const server = createServer({ cert: certificatePem, key: keyPem }, (asked, answer) => {
    const { method, url = "", headers } = asked;
    const passed = requestPlain(new URL(url, to.url), { method, headers }, (got) => {
      answer.writeHead(got.statusCode ?? 502, got.headers);
      got.pipe(answer);
    });
    passed.on("error", () => answer.destroy()).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  t.after(close);
  return { url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`, to, close };
}

interface Seen {
  state: string;
  reason: string;
  certificateExpires?: string;
}

async function seenBy(edge: WorldEdge, name: string): Promise<Seen> {
  const { sites } = (await edge.status()) as { sites: { nodes: (Seen & { name: string })[] }[] };
  const seen = sites.flatMap(({ nodes }) => nodes).find((node) => node.name === name);
  assert.ok(seen !== undefined);
  return seen;
}

test("nodes are probed where their clients are served: over HTTPS, or at the proxy that they name", async (t) => {
  const certificateDirectory = join(await temporaryDirectory(t), "tls");
  const validToMs = Date.UTC(2040, 0, 1);
  await writePair(join(certificateDirectory, "img"), await certificateFor(["img.cdn.test"], { validToMs }));
  const proxy = await startProxy(t);
  const httpsPort = 8443;
  const world = await startWorld(t, ["fra", "nyc"], {
    edgeOf: ({ name, address }) =>
      name === "fra1"
        ? { https: { addresses: [{ host: address, port: httpsPort }], certificateDirectory } }
        : { probeUrl: proxy.url },
  });
  const [fra, nyc] = [world.edge("fra"), world.edge("nyc")];
  proxy.to.url = nyc.url;
  await until("both see each other over TLS", async () => {
    const both = [await seenBy(fra, "nyc1"), await seenBy(nyc, "fra1")];
    return both.every(({ state, certificateExpires }) => state === "up" && certificateExpires !== undefined);
  });
  assert.equal((await seenBy(nyc, "fra1")).certificateExpires, new Date(validToMs).toISOString().replace(".000", ""));
  assert.equal((await nyc.metrics()).get("nearcast_nodes_unproven"), 0);

  const status = await new Promise((resolve, reject) => {
    const ca = testAuthority.certificatePem;
    const url = `https://${fra.address}:${httpsPort}/.nearcast/health`;
    get(url, { ca, servername: "img.cdn.test", agent: false }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    }).on("error", reject);
  });
  assert.equal(status, 200);

  proxy.close();
  await until("nyc is down for fra, although it answers over HTTP", async () => {
    const { state, reason } = await seenBy(fra, "nyc1");
    return state === "down" && reason.includes(proxy.url);
  });
  assert.ok((await fetch(`${nyc.url}/.nearcast/health`)).ok);
  assert.equal((await seenBy(nyc, "fra1")).state, "up");
});

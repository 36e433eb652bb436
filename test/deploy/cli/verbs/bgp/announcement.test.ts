/**
 * The configuration that `nearcast bgp config` writes, at work: an edge's own BGP speaker, a real BIRD on the node and
 * another one as the site's router. All on loopback; BFD, which needs two machines, and links stay out of it.
 *
 *   speaker(s) ──▶ BIRD with the node's text ──▶ BIRD with the router's text
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { openBirdControl } from "../../../../../deploy/cli/verbs/bgp/bird-control.ts";
import { addressAfter } from "#base/ip-text.ts";
import { nodeConfig } from "../../../../../deploy/cli/verbs/bgp/node-config.ts";
import { routerConfig } from "../../../../../deploy/cli/verbs/bgp/router-config.ts";
import { ensureLeaseKey, writePasswordFile } from "../../../../../deploy/cli/verbs/bgp/write-files.ts";
import { administrativeShutdown } from "../../../../../node/announce/bgp/notification.ts";
import { parseAddress } from "../../../../../node/announce/bgp/prefix.ts";
import { openKeyedDialer } from "../../../../../node/announce/dial.ts";
import { readLeaseKey } from "#base/lease-key.ts";
import { createSpeaker, type Speaker } from "../../../../../node/announce/speaker.ts";
import { needsProgram } from "../../../../support/needs.ts";
import { temporaryDirectory } from "../../../../support/temporary.ts";
import { until } from "../../../../support/world.ts";
import { anycastFleet, planOf } from "../../../support/anycast-fleet.ts";
import { runBird } from "../../../support/running-bird.ts";

interface Site {
  /** An edge process' speaker towards the node's BIRD. */
  speaker: (index: number) => Speaker;
  /** The router's routes, as BIRD prints them. */
  routes: () => Promise<string>;
}

async function startSite(t: TestContext, routerAs: number): Promise<Site> {
  const net = `127.${20 + Math.floor(Math.random() * 200)}.${Math.floor(Math.random() * 256)}`;
  const [node, router] = [`${net}.1`, `${net}.100`];
  const fleet = anycastFleet({ routers: [{ address: router, as: routerAs }] });
  // Addresses of loopback are nobody's own in a fleet document, so the router is told of the node here.
  const plan = {
    ...planOf(fleet, { processes: 2, routerId: "192.0.2.10" }),
    nodes: [{ name: "fra1", addresses: { 4: node, 6: undefined } }],
  };

  const asNeighbors = (text: string, own: string, port: number, peer: number): string =>
    text
      .replaceAll("  direct;\n", "  multihop;\n")
      .replaceAll("  bfd on;\n", "")
      .replace(/^protocol bfd [^]*?\n(?=\n)/m, "")
      .replace(/^ {2}local as (\d+);$/m, `  local ${own} port ${port} as $1;`)
      .replaceAll(/^( {2}neighbor \S+) as /gm, `$1 port ${peer} as `);
  const routerSide = await runBird(t, (port) => {
    const text = asNeighbors(routerConfig(plan, "bird"), router, port, 1).replace(
      /( {2}neighbor \S+) port 1 as/,
      "$1 as",
    );
    const passive = text.replace(/(neighbor \S+ as)/, "passive on; $1");
    return `log stderr all;\nrouter id 192.0.2.1;\nprotocol device {}\n${passive}`;
  });
  const source = `${net}.2`;
  const directory = await temporaryDirectory(t);
  const [keyFile, passwordFile] = [join(directory, "lease.key"), join(directory, "nearcast-lease.conf")];
  await writePasswordFile(passwordFile, (await ensureLeaseKey(keyFile)).key);
  const nodeSide = await runBird(t, (port) =>
    asNeighbors(
      nodeConfig(plan, { neighbor: { host: node, port }, source, holdSeconds: 3, passwordFile }).replace(
        "log syslog all;",
        "log stderr all;",
      ),
      node,
      port,
      routerSide.port,
    ),
  );
  const control = await openBirdControl(routerSide.socket);
  t.after(control.close);
  return {
    speaker(index) {
      const peer = { host: node, port: nodeSide.port };
      const from = addressAfter(source, index);
      const speaker = createSpeaker({
        dial: openKeyedDialer({ peer, source: from }, () => readLeaseKey(keyFile), systemClock),
        clock: systemClock,
        changed: () => undefined,
      });
      const identifier = Buffer.from(parseAddress(from) ?? []).readUInt32BE();
      speaker.start({ as: plan.as, identifier, holdSeconds: 3 });
      t.after(() => speaker.stop(administrativeShutdown("the test ends"), "over"));
      return speaker;
    },
    async routes() {
      const reply = await control.ask("show route all").catch(() => undefined);
      return reply?.lines.map((line) => line.text).join("\n") ?? "";
    },
  };
}

const wanted = { prefixes: ["198.51.100.0/24"], nextHops: ["192.0.2.10"], isShuttingDown: false };
const ended = administrativeShutdown("drained");

test("a router sees the service prefix alone, the drain as GRACEFUL_SHUTDOWN, and the end at once", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const { speaker, routes } = await startSite(t, 64501);
  const edge = speaker(0);
  edge.want({ ...wanted, prefixes: [...wanted.prefixes, "192.0.2.0/24", "198.51.100.128/25"] });
  await until("the router has the prefix", async () => (await routes()).includes("198.51.100.0/24"));
  const seen = await routes();
  assert.match(seen, /BGP\.as_path: 64500\b/);
  assert.doesNotMatch(seen, /192\.0\.2\.0\/24|198\.51\.100\.128\/25/);
  assert.doesNotMatch(seen, /65535,0/);

  edge.want({ ...wanted, isShuttingDown: true });
  await until("the router is told of the drain", async () => (await routes()).includes("(65535,0)"));
  assert.match(await routes(), /BGP\.local_pref: 0\b/);
  await edge.stop(ended, "drained");
  await until("the router has nothing", async () => !(await routes()).includes("198.51.100.0/24"));
});

test("of two processes one may drain or die: the router goes on as before", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const { speaker, routes } = await startSite(t, 64501);
  const [first, second] = [speaker(0), speaker(1)];
  first.want(wanted);
  second.want(wanted);
  await until("the router has the prefix", async () => (await routes()).includes("198.51.100.0/24"));
  await until("both sessions stand", async () => {
    return await Promise.resolve([first, second].every((one) => one.announced().length === 1));
  });
  first.want({ ...wanted, isShuttingDown: true });
  // What the second says after the first has drained comes after it in BIRD, too.
  await first.stop(ended, "drained");
  for (let look = 0; look < 20; look++) {
    const seen = await routes();
    assert.match(seen, /198\.51\.100\.0\/24/);
    assert.doesNotMatch(seen, /65535,0/);
  }
  await second.stop(ended, "drained");
  await until("the router has nothing", async () => !(await routes()).includes("198.51.100.0/24"));
});

test("a router of the nodes' own AS is reported, too", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const { speaker, routes } = await startSite(t, 64500);
  speaker(0).want(wanted);
  await until("the router has the prefix", async () => (await routes()).includes("198.51.100.0/24"));
});

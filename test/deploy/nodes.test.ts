/** `nearcast join`, `drain`, `undrain`, `remove` against a real origin, each as a user runs it. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { execFile } from "node:child_process";
import { readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { stringify } from "yaml";
import { loadConfig } from "#base/read-config.ts";
import type { Roster } from "#document/roster.ts";
import { edgeConfigSchema } from "../../node/config.ts";
import { startTestOrigin, type TestOrigin } from "../origin/running-origin.ts";
import { fleetValue, siteValue } from "../support/fleet.ts";
import { needsProgram } from "../support/needs.ts";
import { launcher, nearcast, type Ran, temporaryFolder } from "./support/command.ts";

interface Place {
  origin: TestOrigin;
  /** A machine's own address. */
  address: string;
  data: string;
  edgeTokenFile: string;
  writerTokenFile: string;
  /** With `--no-start`, the address and the ports of an ordinary user; more words come after them. */
  joins: (words?: readonly string[], status?: number) => Promise<Ran>;
  /** With the writer's token. */
  writes: (words: readonly string[], status?: number) => Promise<Ran>;
  roster: () => Promise<Roster>;
}

async function startPlace(t: TestContext, steering: readonly object[] = []): Promise<Place> {
  const origin = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const fleet = fleetValue({ steering, sites: [siteValue("fra"), siteValue("nyc")] });
  const answer = await origin.call("PUT", "/fleet", { body: stringify(fleet) });
  assert.ok(answer.ok, await answer.text());
  const folder = await temporaryFolder(t, "join");
  const data = join(folder, "data");
  const edgeTokenFile = join(folder, "given.token");
  await writeFile(edgeTokenFile, `${origin.tokens.edge}\n`, { mode: 0o600 });
  const address = ownAddress();
  const ran = async (words: readonly string[], status: number): Promise<Ran> => {
    const one = await nearcast(words);
    assert.equal(one.status, status, `${words.join(" ")}: ${one.stderr}${one.stdout}`);
    return one;
  };
  const writerTokenFile = origin.tokenFiles.writer;
  const ports = ["--http-port", "18080", "--dns-port", "15300", "--peer-port", "18082", "--admin-port", freePort()];
  return {
    origin,
    address,
    data,
    edgeTokenFile,
    writerTokenFile,
    joins: async (words = [], status = 0) =>
      await ran(
        ["join", origin.url, "--site", "fra", "--data", data, "--no-start", "--address", address, ...ports].concat(
          words.includes("--token") || words.includes("--token-file") ? [] : ["--token-file", edgeTokenFile],
          words,
        ),
        status,
      ),
    writes: async (words, status = 0) =>
      await ran([...words, "--origin", origin.url, "--token-file", writerTokenFile], status),
    roster: async () => await origin.json<Roster>(200, "GET", "/nodes"),
  };
}

/** Where nothing else of the tests listens. */
function ownAddress(): string {
  const octet = (from: number, count: number): number => from + Math.floor(Math.random() * count);
  return `127.${octet(100, 90)}.${octet(0, 256)}.${octet(1, 250)}`;
}

function freePort(): string {
  return String(20_000 + Math.floor(Math.random() * 10_000));
}

test("join registers, and writes a configuration that an edge takes, with the token for its owner alone", async (t) => {
  const { origin, address, data, joins, roster } = await startPlace(t);
  const { stdout } = await joins();
  assert.match(stdout, /^fra2 joined site fra \(roster revision 1\)\n/);
  const configFile = join(data, "edge.yaml");
  assert.ok(stdout.includes(`to start it in the foreground: npx nearcast edge --config ${configFile}`), stdout);
  const peer = { host: address, port: 18_082 };
  const node = { name: "fra2", site: "fra", http: `http://${address}:18080`, peer, addresses: [address] };
  assert.deepEqual(await roster(), { revision: 1, nodes: [node], draining: [] });

  const config = await loadConfig(edgeConfigSchema, configFile, "NEARCAST_EDGE", {});
  assert.equal(config.node, "fra2");
  assert.equal(config.site, "fra");
  assert.deepEqual(config.http, [{ host: address, port: 18_080 }]);
  assert.deepEqual(config.dns.addresses, [{ host: address, port: 15_300 }]);
  assert.deepEqual(config.peer, peer);
  assert.equal(config.origin.url, origin.url);
  assert.equal(config.origin.tokenFile, join(data, "edge.token"));
  assert.equal((await readFile(config.origin.tokenFile, "utf8")).trim(), origin.tokens.edge);
  assert.equal((await stat(config.origin.tokenFile)).mode & 0o777, 0o600);
  const checked = await nearcast(["edge", "--config", configFile, "--check-config"]);
  assert.equal(checked.status, 0, checked.stderr);
});

test("join again is the same node, under the same name, with the file as its owner left it", async (t) => {
  const { address, data, joins, roster, writes } = await startPlace(t);
  await joins();
  const before = await roster();
  const configFile = join(data, "edge.yaml");
  const mine = (await readFile(configFile, "utf8"))
    .replace(/memoryBytes: \d+/, "memoryBytes: 1048576")
    .replace(/^http:/m, `http:\n  - { host: ${address}, port: 18081 }`)
    .replace(/port: 15300/, "port: 15301");
  await writeFile(configFile, mine);
  // Without a token: the one of the first time is there.
  const again = await nearcast(["join", ...(await joinedWords(data, address))]);
  assert.equal(again.status, 0, again.stderr);
  assert.match(again.stdout, /^fra2 is already a node of site fra/);
  assert.equal(await readFile(configFile, "utf8"), mine);
  assert.deepEqual(await roster(), before);

  await writes(["remove", "fra2", "--now"]);
  const back = (await joins(["--json"])).json() as Record<string, unknown>;
  assert.deepEqual([back["name"], back["unchanged"], back["revision"]], ["fra2", false, 3]);
});

async function joinedWords(data: string, address: string): Promise<string[]> {
  const config = await loadConfig(edgeConfigSchema, join(data, "edge.yaml"), "NEARCAST_EDGE", {});
  const ports = ["--http-port", "18080", "--dns-port", "15300", "--peer-port", "18082"];
  return [config.origin.url, "--site", "fra", "--data", data, "--no-start", "--address", address, ...ports];
}

test("a machine whose file was lost is told its name by its address", async (t) => {
  const { joins, data } = await startPlace(t);
  await joins();
  const other = `${data}2`;
  const again = await joins(["--data", other]);
  assert.match(again.stdout, /^fra2 is already a node of site fra/);
  assert.match(await readFile(join(other, "edge.yaml"), "utf8"), /^node: "fra2"$/m);
});

test("the address is that of the connection to the origin, unless one is given", async (t) => {
  const { origin, data, edgeTokenFile, roster } = await startPlace(t);
  const words = ["--site", "nyc", "--data", data, "--no-start", "--token-file", edgeTokenFile];
  const ports = ["--http-port", freePort(), "--dns-port", freePort(), "--peer-port", freePort()];
  const joined = await nearcast(["join", origin.url, ...words, ...ports, "--admin-port", freePort(), "--name", "here"]);
  assert.equal(joined.status, 0, joined.stderr);
  assert.match(joined.stderr, /127\.0\.0\.1 is a loopback address, which only this machine can reach/);
  assert.deepEqual((await roster()).nodes[0]?.addresses, ["127.0.0.1"]);
});

test("behind NAT the registered addresses are public, and those to listen on the machine's own", async (t) => {
  const { address, data, joins, roster } = await startPlace(t);
  const refused = await joins(["--address", "198.51.100.7"], 1);
  assert.match(refused.stderr, /198\.51\.100\.7:18080\/tcp \(pictures\) is not an address of this machine/);
  assert.match(refused.stderr, /set --address to the public address and --listen/);
  assert.equal((await roster()).revision, 0, "nothing was registered");
  const words = ["--listen", address, "--peer-address", "198.51.100.8", "--address", "2001:db8::7"];
  const joined = (await joins([...words, "--json"])).json() as { http: string; peer: object; addresses: string[] };
  // Told after the machine's own one, which the helper names first.
  assert.deepEqual(joined.addresses, [address, "2001:db8::7"]);
  assert.deepEqual(joined.peer, { host: "198.51.100.8", port: 18_082 });
  const config = await loadConfig(edgeConfigSchema, join(data, "edge.yaml"), "NEARCAST_EDGE", {});
  assert.deepEqual(config.http, [{ host: address, port: 18_080 }]);
  assert.deepEqual(config.peer, { host: address, port: 18_082 });
});

test("the token: from standard input, from the command line with a warning, and never a wrong one", async (t) => {
  const { origin, data, joins, writerTokenFile, roster } = await startPlace(t);
  const warned = await joins(["--token", origin.tokens.edge]);
  assert.match(warned.stderr, /other users of this machine can see a token/);
  assert.ok(!warned.stdout.includes(origin.tokens.edge) && !warned.stderr.includes(origin.tokens.edge));

  const words = ["join", origin.url, "--site", "fra", "--data", `${data}2`, "--no-start", "--token-file", "-"];
  const ports = ["--http-port", freePort(), "--dns-port", freePort(), "--peer-port", freePort()];
  const rest = [...ports, "--admin-port", freePort(), "--address", ownAddress()];
  const child = execFile(process.execPath, [launcher, ...words, ...rest]);
  child.stdin?.end(`${origin.tokens.edge}\n`);
  const [status] = (await once(child, "exit")) as [number];
  assert.equal(status, 0);
  assert.equal((await roster()).revision, 2);

  const wrong = await joins(["--data", `${data}3`, "--token", "x".repeat(43), "--address", ownAddress()], 4);
  assert.match(wrong.stderr, /UNAUTHORIZED[\s\S]*copy secrets\/edge\.token from the origin's data directory/);
  const writers = await joins(["--data", `${data}3`, "--token-file", writerTokenFile], 4);
  assert.match(writers.stderr, /holds the writer token; a node needs the edge token/);
  const short = await joins(["--data", `${data}3`, "--token", "short"], 2);
  assert.match(short.stderr, /--token does not hold a token/);
  const none = await joins(["--data", `${data}3`, "--token-file", "/nowhere/edge.token"], 2);
  assert.match(none.stderr, /nowhere\/edge\.token: no such file[\s\S]*secrets\/edge\.token/);
  assert.equal((await roster()).revision, 2, "none of these registered anything");
});

test("what can't be is said before anything is registered, with what to do", async (t) => {
  const { address, data, joins, origin, roster } = await startPlace(t);
  const site = await joins(["--site", "atlantis"], 4);
  assert.match(site.stderr, /the fleet has no site "atlantis"\n  Its sites: fra, nyc/);

  const busy = createServer().listen(18_080, address);
  await once(busy, "listening");
  const taken = await joins([], 1);
  assert.match(taken.stderr, /nothing was registered:\n.*:18080\/tcp \(pictures\) is in use by another program/);
  busy.close();

  const away = await nearcast(["join", "http://127.0.0.1:1", "--site", "fra", "--token", "x".repeat(20)]);
  assert.equal(away.status, 3);
  assert.match(away.stderr, /can't be reached: connection refused\n  Is the origin running/);
  const noUrl = await nearcast(["join", "origin.example.com", "--site", "fra", "--token", "x".repeat(20)]);
  assert.equal(noUrl.status, 2);
  assert.match(noUrl.stderr, /is not the URL of an origin/);

  await writeFile(`${data}-file`, "");
  assert.match((await joins(["--data", `${data}-file`], 1)).stderr, /can't be written[\s\S]*Nothing was registered/);
  assert.equal((await roster()).revision, 0);

  await joins(["--name", "edge-7"]);
  const other = await joins(["--name", "edge-8", "--site", "nyc", "--http-port", "18090"], 2);
  assert.match(other.stderr, /edge\.yaml exists and differs from this command/);
  for (const key of ["node", "site", "http"])
    assert.match(other.stderr, new RegExp(`^  ${key} is .* in the file`, "m"));
  const conflict = await joins(["--data", `${data}2`, "--name", "fra1"], 4);
  assert.match(conflict.stderr, /fra1 is already a node of the fleet document/);
  const clash = await joins(["--data", `${data}2`, "--site", "nyc"], 4);
  assert.match(clash.stderr, /edge-7 has joined before with different values: site \(fra\)[\s\S]*nearcast remove NODE/);

  const empty = await startTestOrigin({ after: (cleanUp) => t.after(cleanUp) });
  const early = await nearcast(["join", empty.url, "--site", "fra", "--token", empty.tokens.edge, "--data", data]);
  assert.equal(early.status, 4);
  assert.match(early.stderr, /no fleet document yet[\s\S]*nearcast fleet apply/);
  assert.ok(origin.url !== empty.url);
});

test("without the right to a port below 1024, that is said with the ways out", async (t) => {
  const { address, data, edgeTokenFile, origin, roster } = await startPlace(t);
  const words = [launcher, "join", origin.url, "--site", "fra", "--token-file", edgeTokenFile, "--data", data];
  const rest = ["--no-start", "--address", address, "--admin-port", freePort()];
  // Root keeps that right unless it is taken out of its bounding set.
  const isRoot = process.getuid?.() === 0;
  if (isRoot && !needsProgram(t, "setpriv")) return;
  const without = isRoot ? ["setpriv", "--bounding-set", "-net_bind_service", process.execPath] : [process.execPath];
  const [program = "", ...before] = without;
  const stderr = await new Promise<string>((resolve) => {
    execFile(program, [...before, ...words, ...rest], (_error, _stdout, text) => {
      resolve(text);
    });
  });
  assert.match(stderr, /:53\/udp \(names\) requires a privilege that this user does not have/);
  assert.match(stderr, /setcap cap_net_bind_service=\+ep/);
  assert.equal((await roster()).revision, 0, "nothing was registered");
});

test("drain, undrain: nodes of both, with what happens next", async (t) => {
  const { joins, writes, roster } = await startPlace(t, [{ name: "img.cdn.test", policy: "geo", ttlSeconds: 45 }]);
  await joins();
  const drained = await writes(["drain", "fra2"]);
  assert.match(drained.stdout, /^fra2 is drained \(roster revision 2\)/);
  assert.match(
    drained.stdout,
    /cached answers may still arrive for up to 45 s\nto undo this: npx nearcast undrain fra2/,
  );
  const json = (await writes(["drain", "nyc1", "--json"])).json();
  assert.deepEqual(json, { name: "nyc1", draining: true, revision: 3, oldAnswersSeconds: 45, stillNamedFor: [] });
  assert.deepEqual((await roster()).draining, ["fra2", "nyc1"]);
  assert.match(drained.stdout, /DNS stops handing out its address/);
  const last = await writes(["drain", "fra1"]);
  assert.match(last.stderr, /^warning: DNS still hands out fra1 for img\.cdn\.test: [^\n]*no other node there is up/);
  assert.doesNotMatch(last.stdout, /no new clients/);
  await writes(["undrain", "fra1"]);
  assert.match((await writes(["undrain", "nyc1"])).stdout, /nyc1 is no longer drained \(roster revision 6/);
  const unknown = await writes(["drain", "tyo1"], 4);
  assert.match(unknown.stderr, /the fleet has no node "tyo1"; it has fra1, fra2, nyc1/);
});

test("remove drains, waits for the longest TTL, and only then takes the node out", async (t) => {
  const { joins, writes, roster } = await startPlace(t, [
    { name: "img.cdn.test", policy: "geo", ttlSeconds: 1, ttlFloorSeconds: 1 },
  ]);
  await joins();
  const seen: Roster[] = [];
  const over = new AbortController();
  const removing = writes(["remove", "fra2"]).finally(() => {
    over.abort();
  });
  while (!over.signal.aborted) {
    seen.push(await roster());
    await pause(20);
  }
  const removed = await removing;
  assert.match(removed.stderr, /fra2 is drained; clients with cached answers may still arrive for 3 s/);
  assert.match(removed.stdout, /removed fra2 from the fleet \(roster revision 3\); now stop nearcast on its machine/);
  assert.ok(seen.some(({ nodes, draining }) => nodes.length === 1 && draining[0] === "fra2"));
  assert.deepEqual(await roster(), { revision: 3, nodes: [], draining: [] });

  const ofDocument = await writes(["remove", "fra1"], 4);
  assert.match(ofDocument.stderr, /no node named "fra1" has joined\n  No node has joined\.\n.*edit fleet\.yaml/);
  assert.deepEqual((await roster()).draining, [], "and it was not drained either");
});

test("a node that joined and stands in the document is not removed while the document would keep it", async (t) => {
  const { address, joins, origin, writes, roster } = await startPlace(t);
  await joins();
  const http = `http://${address}:18080`;
  const fra = siteValue("fra", {
    nodes: [
      { name: "fra1", http: "http://192.0.2.1:8080" },
      { name: "fra2", http },
    ],
  });
  const fleet = fleetValue({ sites: [fra, siteValue("nyc")] });
  assert.ok((await origin.call("PUT", "/fleet", { body: stringify(fleet) })).ok);
  const { stderr } = await writes(["remove", "fra2", "--now"], 4);
  assert.match(stderr, /fra2 has joined and is also in the fleet document\n {2}Remove it from sites\[0\]\.nodes/);
  const { nodes, draining } = await roster();
  assert.deepEqual([nodes.length, draining], [1, []]);
});

test("remove asks before a nameserver loses its last address, and fleet check knows who joined", async (t) => {
  const { address, data, joins, origin, writes, roster } = await startPlace(t);
  await joins();
  const fleet = fleetValue({
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: [address] }] }],
    steering: [{ name: "img.cdn.test", policy: "geo" }],
  });
  const file = join(data, "fleet.yaml");
  await writeFile(file, stringify(fleet));
  assert.ok((await origin.call("PUT", "/fleet", { body: stringify(fleet) })).ok);
  const at = "zones[0].nameservers[0].addresses[0] (line 6)";
  const unwise = `${at}: ${address}, the address of the nameserver ns1.cdn.test,`;
  const alone = await nearcast(["fleet", "check", file, "--data", join(data, "none")]);
  assert.deepEqual([alone.status, alone.stderr.startsWith(`warning: ${unwise}`)], [0, true], alone.stderr);
  assert.equal((await writes(["fleet", "check", file])).stderr, "", "the origin knows the node");
  const away = await nearcast(["fleet", "check", file, "--origin", "http://127.0.0.1:1", "--data", data]);
  assert.equal(away.status, 0);
  assert.match(away.stderr, /^note: the nodes that joined are unknown.*can't be reached.*\nwarning: zones/);

  const refused = await writes(["remove", "fra2"], 2);
  assert.match(refused.stderr, new RegExp(`^danger: ns1.cdn.test would lose its last live address, ${address}\n`));
  assert.match(refused.stderr, /\nwarning: zones\[0\]\.nameservers[^\n]*belongs to no node of this fleet/);
  assert.match(refused.stderr, /\nnearcast: fra2 was not removed[^\n]*no terminal to ask[^\n]*\n[^\n]*\n  Use --yes/);
  const { nodes, draining } = await roster();
  assert.deepEqual([nodes.length, draining], [1, []], "and it was not drained either");
  const removed = (await writes(["remove", "fra2", "--now", "--yes", "--json"])).json() as {
    dangers: { kind: string; name: string }[];
    warnings: { value: string }[];
  };
  assert.deepEqual(
    removed.dangers.map(({ kind, name }) => [kind, name]),
    [["name", "ns1.cdn.test"]],
  );
  assert.deepEqual(
    removed.warnings.map(({ value }) => value),
    [address],
  );
  assert.equal((await roster()).nodes.length, 0);
});

test("check, diff and apply warn of a site without an address until a node has joined it", async (t) => {
  const { data, joins, writes } = await startPlace(t);
  const folder = await temporaryFolder(t, "fleet");
  const file = join(folder, "fleet.yaml");
  const zones = [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.1"] }] }];
  const sites = [siteValue("nyc"), siteValue("fra", { addresses: [], nodes: [] })];
  await writeFile(file, stringify(fleetValue({ zones, sites, steering: [{ name: "img.cdn.test", policy: "geo" }] })));
  const verbs = [
    { words: ["fleet", "check", file], status: 0 },
    // It takes the node fra1 out of the document.
    { words: ["fleet", "diff", file], status: 4 },
    { words: ["fleet", "apply", file, "--force", "--yes"], status: 0 },
  ];
  for (const { words, status } of verbs) {
    const { stderr } = await writes(words, status);
    assert.match(
      stderr,
      /warning: sites\[1\] \(line \d+\): site fra has no node with an address, so DNS does not answer/,
    );
  }
  await joins();
  for (const { words } of verbs) assert.equal((await writes(words)).stderr, "", words.join(" "));
  const { stderr } = await nearcast(["fleet", "check", file, "--data", join(data, "none")]);
  assert.match(stderr, /^warning: sites\[1\]/, "without an origin at hand nobody knows who joined");
});

test("token retire edge names the nodes that may have no newer token, and needs --yes", async (t) => {
  const { joins, origin, writes } = await startPlace(t);
  await joins();
  assert.match((await writes(["token", "retire", "edge"])).stdout, /there is no older edge token/);
  await writes(["token", "rotate", "edge"]);
  const refused = await writes(["token", "retire", "edge"], 2);
  for (const name of ["fra1", "fra2", "nyc1"]) {
    assert.match(refused.stderr, new RegExp(`^warning: node ${name} is not connected to the origin and may not`, "m"));
  }
  assert.match(refused.stderr, /no token was retired: 3 nodes may not have the new one[\s\S]*Use --yes/);
  assert.ok((await origin.call("GET", "/nodes", { token: origin.tokens.edge })).ok, "the older token is accepted");
  assert.match((await writes(["token", "retire", "edge", "--yes"])).stdout, /retired 1 older edge token/);
  assert.equal((await origin.call("GET", "/nodes", { token: origin.tokens.edge })).status, 401);
});

test("status knows the node of the folder that join wrote", async (t) => {
  const { data, joins, origin, writerTokenFile } = await startPlace(t);
  await joins();
  const words = ["--data", data, "--origin", origin.url, "--token-file", writerTokenFile];
  const { status, stdout } = await nearcast(["status", ...words]);
  assert.equal(status, 3, "it does not run");
  assert.match(stdout, /fra2/);
});

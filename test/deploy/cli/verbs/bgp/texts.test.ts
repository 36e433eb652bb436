/** The texts that `nearcast bgp config` prints: BIRD takes them, and nothing is in them that must not be. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { addressFile } from "../../../../../deploy/cli/verbs/bgp/address-file.ts";
import { daisyChain } from "../../../../../deploy/cli/verbs/bgp/daisy-chain.ts";
import { nodeConfig } from "../../../../../deploy/cli/verbs/bgp/node-config.ts";
import { blanks, routerConfig, routerKinds } from "../../../../../deploy/cli/verbs/bgp/router-config.ts";
import { needsProgram } from "../../../../support/needs.ts";
import { temporaryDirectory } from "../../../../support/temporary.ts";
import { anycastFleet, clouds, fraNodes, planOf } from "../../../support/anycast-fleet.ts";
import { eachOf, nearcast, type Ran } from "../../../support/command.ts";

/** What BIRD says of a configuration: empty when it is good. */
async function birdSays(file: string): Promise<string> {
  return await new Promise((resolve) => {
    execFile("bird", ["-p", "-c", file], (error, _stdout, stderr) => {
      resolve(error === null ? stderr : `${error.message}\n${stderr}`);
    });
  });
}

const fourOnly = [{ name: "a", prefixes: ["198.51.100.0/24"], addresses: ["198.51.100.53"], sites: ["fra"] }];
const sixOnly = [{ name: "a", prefixes: ["2001:db8:a::/48"], addresses: ["2001:db8:a::53"], sites: ["fra"] }];
const internal = [{ address: "192.0.2.1", as: 64500 }];

test("BIRD takes the node's and the router's configuration of every kind of document", async (t) => {
  if (!needsProgram(t, "bird")) return;
  const directory = await temporaryDirectory(t);
  const password = join(directory, "router.password");
  await writeFile(password, 'password "not in the output";\n');
  const withPassword = [{ address: "192.0.2.1", as: 64501, passwordFile: password }];
  const four = [0, 1, 2, 3].map((index) => ({
    ...fourOnly[0],
    name: `c${index}`,
    prefixes: [`10.${index}.0.0/16`],
    addresses: [`10.${index}.0.1`],
  }));
  for (const changes of [
    {},
    { clouds: fourOnly },
    { clouds: sixOnly },
    { clouds: four },
    { routers: internal },
    { routers: withPassword },
    { fraNodes: [] },
    { as: 4_200_000_000 },
  ]) {
    const fleet = anycastFleet(changes);
    for (const processes of [1, 3]) {
      for (const node of [undefined, ...(changes.fraNodes === undefined ? ["fra1", "fra-2"] : [])]) {
        const plan = planOf(fleet, { node, processes });
        const text = nodeConfig(plan, { passwordFile: password });
        const file = join(directory, "bird.conf");
        await writeFile(file, text);
        assert.equal(await birdSays(file), "", text);
      }
    }
    const text = routerConfig(planOf(fleet), "bird");
    const file = join(directory, "router.conf");
    await writeFile(file, `router id 192.0.2.1;\nprotocol device {}\n${text}`);
    assert.equal(await birdSays(file), "", text);
  }
});

test("the node passes exactly its clouds' prefixes, from as many processes as it has", () => {
  const text = nodeConfig(planOf(anycastFleet(), { node: "fra1", processes: 3 }));
  assert.match(text, /^define SERVICE4 = \[ 198\.51\.100\.0\/24 \];$/m);
  assert.match(text, /^define SERVICE6 = \[ 2001:db8:a::\/48 \];$/m);
  assert.ok(!text.includes("203.0.113"), "cloud b is announced elsewhere");
  assert.match(text, /^router id 192\.0\.2\.10;$/m);
  const neighbors = [...text.matchAll(/protocol bgp (edge\d) from edge \{ neighbor (\S+) as 64500; \}/g)];
  assert.deepEqual(
    neighbors.map(([, name, address]) => [name, address]),
    [
      ["edge0", "127.0.0.2"],
      ["edge1", "127.0.0.3"],
      ["edge2", "127.0.0.4"],
    ],
  );
});

test("nothing but an edge's session announces: there is no static route and no route from the kernel", () => {
  const text = nodeConfig(planOf(anycastFleet()));
  assert.doesNotMatch(text, /protocol (?:static|kernel|direct)/);
  const channels = text.split("\n").filter((line) => /^ {2}ipv[46] \{/.test(line));
  for (const line of channels) {
    const isEdge = line.includes("import filter from_edge");
    assert.match(line, isEdge ? /import limit \d+ action block;.*export none;/ : /import none;.*proto ~ "edge\*"/);
  }
  assert.match(text, /graceful restart off/);
});

test("a family without a prefix is nowhere in the configuration", () => {
  for (const [changes, absent] of [
    [fourOnly, 6],
    [sixOnly, 4],
  ] as const) {
    const plan = planOf(anycastFleet({ clouds: changes }), { node: "fra1" });
    for (const text of [nodeConfig(plan), routerConfig(plan, "bird"), routerConfig(plan, "frr")]) {
      assert.doesNotMatch(
        text,
        new RegExp(`^ *(?:ipv${absent} \\{|define SERVICE${absent}|address-family ipv${absent})`, "m"),
      );
    }
    assert.doesNotMatch(routerConfig(plan, "junos"), absent === 6 ? /inet6 unicast/ : /inet unicast/);
  }
});

test("a password is a file that is included, and a blank for the router's side", async (t) => {
  const directory = await temporaryDirectory(t);
  const passwordFile = join(directory, "key");
  await writeFile(passwordFile, 'password "the-secret-itself";\n');
  const plan = planOf(anycastFleet({ routers: [{ address: "192.0.2.1", as: 64501, passwordFile }] }));
  const texts = [nodeConfig(plan), ...routerKinds.map((kind) => routerConfig(plan, kind))];
  for (const text of texts) assert.ok(!text.includes("the-secret-itself"));
  // BIRD reads `include` at the beginning of a line only.
  assert.match(texts[0] ?? "", new RegExp(`^include "${passwordFile}";$`, "m"));
  for (const text of texts.slice(1)) assert.ok(text.includes(blanks.password));
});

test("each router's text takes exactly the prefixes, a draining node last, several at once, and gives nothing", () => {
  const plan = planOf(anycastFleet());
  const wanted: Record<(typeof routerKinds)[number], RegExp[]> = {
    bird: [/if \(65535, 0\) ~ bgp_community then bgp_local_pref = 0/, /merge paths yes/, /export none/, /bfd on/],
    frr: [
      /permit graceful-shutdown/,
      /set local-preference 0/,
      /maximum-paths 16/,
      /route-map NEARCAST-OUT deny 10/,
      /neighbor NEARCAST timers 3 9/,
      /detect-multiplier 3/,
      /maximum-prefix 1/,
    ],
    junos: [
      /members 65535:0/,
      /then local-preference 0/,
      /multipath/,
      /NEARCAST-OUT then reject/,
      /minimum-interval 300/,
      /load-balance per-packet/,
      /policy-statement NEARCAST-IN then reject/,
    ],
  };
  for (const kind of routerKinds) {
    const text = routerConfig(plan, kind);
    for (const pattern of [...wanted[kind], /198\.51\.100\.0\/24/, /2001:db8:a::\/48/])
      assert.match(text, pattern, kind);
    assert.ok(!text.includes("203.0.113"), kind);
    // fra1 is known by both families, fra-2 by one: a session for each, with the family that the router's has.
    for (const address of ["192.0.2.10", "2001:db8:1::10", "192.0.2.11"]) assert.ok(text.includes(address), address);
    for (const line of text.split("\n")) assert.ok(line.length <= 120, line);
  }
});

test("a router of the nodes' own AS gets the routes by reflection", () => {
  const plan = planOf(anycastFleet({ routers: internal }));
  assert.match(nodeConfig(plan), /rr client;/);
  assert.match(routerConfig(plan, "junos"), /type internal/);
  assert.match(routerConfig(plan, "frr"), /maximum-paths ibgp 16/);
  assert.doesNotMatch(nodeConfig(planOf(anycastFleet())), /rr client;/);
});

test("nodes whose address nobody told are named as such", () => {
  const nodes = [...fraNodes, { name: "fra3", http: "http://fra3.example.com" }];
  for (const kind of routerKinds) {
    assert.match(routerConfig(planOf(anycastFleet({ fraNodes: nodes })), kind), /Without an address.*: fra3\./);
    assert.match(routerConfig(planOf(anycastFleet({ fraNodes: [] })), kind), /names no node here/);
  }
});

test("the address file has the site's service addresses in full length", () => {
  const lines = addressFile(planOf(anycastFleet()))
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  assert.deepEqual(lines, ["198.51.100.53/32", "198.51.100.80/32", "2001:db8:a::53/128"]);
});

test("a daisy chain leads to another node of the site, by the families in which that is known", () => {
  const plan = planOf(anycastFleet(), { node: "fra1" });
  const chained = daisyChain(plan, "fra-2");
  assert.ok(chained.ok);
  assert.match(chained.text, /^PEER4="192\.0\.2\.11"$/m);
  assert.match(chained.text, /^SERVICE4="198\.51\.100\.53, 198\.51\.100\.80"$/m);
  assert.match(chained.text, /^# IPv6: the fleet document has no address for fra-2/m);
  for (const [peer, says] of [
    ["fra1", /can't pass connections on to itself/],
    ["nyc1", /no node "nyc1"/],
  ] as const) {
    const refused = daisyChain(plan, peer);
    assert.ok(!refused.ok);
    assert.match(refused.reason, says);
    assert.match(refused.hints.join(), /fra-2/);
  }
});

test("--output writes bird.conf with its key, keeps what is there, and writes nothing when it fails", async (t) => {
  const directory = await temporaryDirectory(t);
  const fileOf = (name: string): string => join(directory, name);
  const { zones, sites, anycast, hosts } = anycastFleet({ clouds });
  await writeFile(fileOf("fleet.yaml"), JSON.stringify({ zones, sites, anycast, hosts }));
  const [conf, key, password] = [fileOf("bird.conf"), fileOf("lease.key"), fileOf("nearcast-lease.conf")];
  await writeFile(conf, "# by hand", { mode: 0o640 });
  const config = async (...words: string[]): Promise<Ran> => {
    const place = ["--file", fileOf("fleet.yaml"), "--output", conf, "--key-file", key];
    return await nearcast(["bgp", "config", ...words, ...place]);
  };

  const failed = await config("--site", "atlantis");
  assert.equal(failed.status, 2, failed.stderr);
  assert.equal(await readFile(conf, "utf8"), "# by hand");
  assert.deepEqual((await readdir(directory)).toSorted(), ["bird.conf", "fleet.yaml"]);

  const first = await config("--site", "fra", "--node", "fra1");
  assert.equal(first.status, 0, first.stderr);
  assert.deepEqual(first.stdout.trim().split("\n"), [
    `written    ${key}`,
    `written    ${password}`,
    `written    ${conf}`,
  ]);
  const secret = (await readFile(key, "utf8")).trim();
  assert.match(secret, /^[\w-]{43}$/);
  assert.equal(await readFile(password, "utf8"), `password "${secret}";\n`);
  const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;
  assert.deepEqual([await modeOf(key), await modeOf(password), await modeOf(conf)], [0o600, 0o640, 0o640]);
  for (const text of [await readFile(conf, "utf8"), first.stdout, first.stderr]) assert.ok(!text.includes(secret));
  if (needsProgram(t, "bird")) assert.equal(await birdSays(conf), "");

  const again = await config("--site", "fra", "--node", "fra1", "--json");
  const { files } = again.json() as { files: { file: string; outcome: string }[] };
  assert.deepEqual(
    files.map(({ file, outcome }) => [file, outcome]),
    [
      [key, "unchanged"],
      [password, "unchanged"],
      [conf, "unchanged"],
    ],
  );

  await chmod(key, 0o644);
  const open = await config("--site", "fra", "--node", "fra1");
  assert.equal(open.status, 1);
  assert.match(open.stderr, /lease\.key has mode 0644.*chmod 600/);
});

test("the command prints them, alone on standard output, and says in a sentence what is wrong", async (t) => {
  const file = join(await temporaryDirectory(t), "fleet.yaml");
  const { zones, sites, anycast, hosts } = anycastFleet({ clouds });
  await writeFile(file, JSON.stringify({ zones, sites, anycast, hosts }));
  const printed = await nearcast([
    "bgp",
    "config",
    "--site",
    "fra",
    "--node",
    "fra1",
    "--processes",
    "2",
    "--file",
    file,
  ]);
  assert.equal(printed.status, 0, printed.stderr);
  assert.equal(printed.stdout, nodeConfig(planOf(anycastFleet(), { node: "fra1", processes: 2 })));
  const json = await nearcast(["bgp", "config", "--site", "fra", "--router", "frr", "--file", file, "--json"]);
  assert.equal((json.json() as { text: string }).text, routerConfig(planOf(anycastFleet()), "frr"));
  const cases: [words: string[], says: RegExp][] = [
    [["--site", "nyc"], /site nyc has no bgp/],
    [["--site", "fra", "--router", "ios"], /Allowed choices are bird, frr, junos/],
    [["--site", "fra", "--router", "frr", "--addresses"], /cannot be used with/],
    [["--site", "fra", "--router-id", "0.0.0.0"], /must look like an IPv4 address/],
    [["--site", "fra", "--processes", "65"], /whole number from 1 to 64/],
    [[], /required option '--site/],
  ];
  const refusals = await eachOf(cases, async ([words, says]) => {
    return { says, refused: await nearcast(["bgp", "config", ...words, "--file", file]) };
  });
  for (const { says, refused } of refusals) {
    assert.deepEqual([refused.status, refused.stdout], [2, ""], refused.stderr);
    assert.match(refused.stderr, says);
  }
});

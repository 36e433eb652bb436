/** What `nearcast bgp check` thinks of a node: one that is as it should be, and each thing that may be wrong. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { check } from "#base/schema.ts";
import type { BirdSession } from "../../../../../deploy/cli/verbs/bgp/bird-state.ts";
import { type Facts, gatherFacts, socketsOf } from "../../../../../deploy/cli/verbs/bgp/machine-facts.ts";
import { judge } from "../../../../../deploy/cli/verbs/bgp/findings.ts";
import type { Finding } from "../../../../../deploy/cli/verbs/bgp/findings/finding.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../../../node/config.ts";
import { temporaryDirectory } from "../../../../support/temporary.ts";
import { anycastFleet, routers } from "../../../support/anycast-fleet.ts";
import { nearcast } from "../../../support/command.ts";

const serviceAddresses = ["198.51.100.53", "198.51.100.80", "2001:db8:a::53"];

const written = {
  node: "fra1",
  site: "fra",
  origin: { url: "http://10.0.0.5:7070", tokenFile: "/etc/nearcast/edge.token" },
  http: [{ host: "198.51.100.80", port: 80 }],
  dns: { addresses: ["198.51.100.53", "2001:db8:a::53"].map((host) => ({ host, port: 53 })) },
  announce: { nextHops: ["192.0.2.10", "2001:db8:1::10"] },
};

function edge(changes: object = {}): EdgeConfig {
  const checked = check(edgeConfigSchema, { ...written, ...changes });
  assert.ok(checked.ok, checked.ok ? "" : JSON.stringify(checked.problems));
  return checked.value;
}

const session: BirdSession = {
  name: "edge0",
  neighbor: "127.0.0.2",
  neighborAs: 64500,
  localAs: 64500,
  state: "Established",
  lastError: undefined,
  holdSeconds: 3,
  hasGracefulRestart: false,
  importedCount: 2,
  exportedCount: 0,
};
const toRouter = routers.map(({ address, as }, index): BirdSession => ({
  ...session,
  name: `router${index + 1}`,
  neighbor: address,
  neighborAs: as,
  holdSeconds: 9,
  importedCount: 0,
  exportedCount: 1,
}));
const bfd = routers.map(({ address }) => ({ address, isUp: true, intervalMs: 300, timeoutMs: 900 }));
const state = { version: "2.0.12", routerId: "192.0.2.10", sessions: [session, ...toRouter], bfd };

/** A node on which nothing is to be mended. */
const good: Facts = {
  edge: edge(),
  processes: 1,
  isRoot: true,
  fleet: anycastFleet(),
  fleetReason: undefined,
  addresses: [
    ...serviceAddresses.map((address) => ({
      device: "lo",
      address,
      cidr: `${address}/${address.includes(":") ? 128 : 32}`,
    })),
    { device: "eth0", address: "192.0.2.10", cidr: "192.0.2.10/26" },
    { device: "eth0", address: "2001:db8:1::10", cidr: "2001:db8:1::10/64" },
    { device: "docker0", address: "172.17.0.1", cidr: "172.17.0.1/16" },
  ],
  devices: ["all", "lo", "eth0", "docker0"].map((device) => ({ device, rpFilter: 2, arpIgnore: 1, arpAnnounce: 2 })),
  sockets: ["198.51.100.53", "2001:db8:a::53"].flatMap((address) =>
    (["udp", "tcp"] as const).map((transport) => ({ transport, address, port: 53 })),
  ),
  leaseKey: { ok: true },
  unsigned: [{ source: "127.0.0.2", outcome: "unanswered" }],
  leaseGuard: { ok: true },
  bird: { ok: true, state },
};

const text = ({ level, about, what, mend = "" }: Finding): string => `${level} ${about}: ${what} → ${mend}`;

test("a node that is as it should be has nothing to mend", () => {
  const findings = judge(good);
  assert.deepEqual(findings.filter(({ level }) => level !== "ok").map(text), []);
  assert.deepEqual(
    [...new Set(findings.map(({ about }) => about))],
    ["plan", "prefixes", "addresses", "kernel", "dns", "http", "bird", "guard", "lease", "routers"],
  );
});

const onLo = good.addresses.filter(({ device }) => device === "lo");
const withSession = (changed: Partial<BirdSession>, at = 0): Facts["bird"] => ({
  ok: true,
  state: { ...state, sessions: state.sessions.map((one, index) => (index === at ? { ...one, ...changed } : one)) },
});
const withDevice = (name: string, changed: Partial<Facts["devices"][number]>): Facts["devices"] =>
  good.devices.map((one) => (one.device === name ? { ...one, ...changed } : { ...one, arpIgnore: 1 }));

/** Each changes one fact, and wants one finding beside those that are ok. */
const faults: [what: string, facts: Partial<Facts>, wanted: RegExp][] = [
  [
    "no key",
    { leaseKey: undefined },
    /^fail guard: edge\.yaml has no announce\.keyFile.*→ (?:npx )?nearcast bgp config .*announce\.keyFile/,
  ],
  ["a bad key", { leaseKey: { ok: false, reason: "k has mode 0644" } }, /^fail guard: k has mode 0644 →/],
  [
    "a BIRD without the key",
    { unsigned: [{ source: "127.0.0.2", outcome: "accepted" }] },
    /^fail guard: BIRD accepts a connection from 127\.0\.0\.2 without a key → .*--output/,
  ],
  [
    "an attempt that could not be made",
    { unsigned: [{ source: "127.0.0.2", outcome: { reason: "EADDRNOTAVAIL" } }] },
    /^warn guard: .*could not be tried: EADDRNOTAVAIL/,
  ],
  [
    "a BIRD that is not there",
    { unsigned: [{ source: "127.0.0.2", outcome: "reset" }] },
    /^warn guard: .*could not be tried: connection refused → is BIRD running\?/,
  ],
  [
    "a user whom the rule refuses, as it should",
    { isRoot: false, unsigned: [{ source: "127.0.0.2", outcome: "reset" }] },
    /^warn guard: .*was not tried: BIRD refuses connections of this user → run this as root/,
  ],
  [
    "a user who may not ask for the rule",
    { isRoot: false, leaseGuard: { ok: false, reason: "Operation not permitted", isForbidden: true } },
    /^warn guard: only root can see whether an nftables rule .*port 179 → run this as root/,
  ],
  [
    "no rule",
    { leaseGuard: { ok: false, reason: "No such file or directory" } },
    /^warn guard: no nftables rule .*port 179.*→ systemctl enable --now nearcast-lease-guard/,
  ],
  ["no document", { fleet: undefined, fleetReason: "none there" }, /^fail plan: none there → .*--file/],
  ["no cloud", { edge: edge({ site: "tyo" }) }, /^fail plan: site tyo is in no cloud → add it/],
  [
    "a long prefix",
    {
      fleet: anycastFleet({
        clouds: [
          {
            name: "a",
            prefixes: ["198.51.100.0/25", "2001:db8:a::/48"],
            addresses: serviceAddresses,
            sites: ["fra"],
          },
        ],
      }),
    },
    /^warn prefixes: 198\.51\.100\.0\/25 is longer than \/24.*→ .*covering prefix/,
  ],
  [
    "an address is missing",
    { addresses: good.addresses.filter(({ address }) => address !== "2001:db8:a::53") },
    /^fail addresses: .*2001:db8:a::53 is not on this machine → ip address add 2001:db8:a::53\/128 dev lo/,
  ],
  [
    "an address is elsewhere",
    { addresses: good.addresses.map((one) => (one === onLo[0] ? { ...one, device: "eth0" } : one)) },
    /^warn addresses: .*198\.51\.100\.53 is on eth0.* → ip address add 198\.51\.100\.53\/32 dev lo/,
  ],
  [
    "rp_filter of the router's interface",
    {
      devices: withDevice("all", { rpFilter: 0 }).map((one) => (one.device === "eth0" ? { ...one, rpFilter: 1 } : one)),
    },
    /^fail kernel: eth0 .*rp_filter 1.* → sysctl -w net\.ipv4\.conf\.eth0\.rp_filter=2/,
  ],
  [
    "rp_filter of another interface",
    {
      devices: withDevice("all", { rpFilter: 0 }).map((one) =>
        one.device === "docker0" ? { ...one, rpFilter: 1 } : one,
      ),
    },
    /^warn kernel: docker0 /,
  ],
  [
    "ARP",
    { devices: good.devices.map((one) => ({ ...one, arpIgnore: 0, arpAnnounce: 0 })) },
    /^warn kernel: eth0, docker0 may answer ARP.* → sysctl -w net\.ipv4\.conf\.all\.arp_ignore=1/,
  ],
  [
    "DNS on the wildcard",
    { edge: edge({ dns: { addresses: [{ host: "0.0.0.0", port: 53 }, written.dns.addresses[1]] } }) },
    /^fail dns: DNS on 0\.0\.0\.0 answers queries to 198\.51\.100\.53 from another address.* → edge\.yaml: dns/,
  ],
  [
    "no DNS on the nameserver's address",
    { edge: edge({ dns: { addresses: [written.dns.addresses[0]] } }) },
    /^fail dns: nameserver ns1 has the address 2001:db8:a::53.* → edge\.yaml: .*"2001:db8:a::53"/,
  ],
  [
    "DNS without TCP",
    { sockets: good.sockets.filter(({ transport, address }) => transport === "udp" || address.includes(":")) },
    /^fail dns: nothing listens for DNS on 198\.51\.100\.53 port 53 \(tcp\)/,
  ],
  [
    "no HTTP",
    { edge: edge({ http: [{ host: "192.0.2.10", port: 80 }] }) },
    /^fail http: .*198\.51\.100\.80.* → edge\.yaml/,
  ],
  [
    "no BIRD",
    { bird: { ok: false, reason: "/run/bird/bird.ctl: no such file" } },
    /^fail bird: .*no such file → systemctl status bird/,
  ],
  [
    "no right to ask",
    { bird: { ok: false, reason: "/run/bird/bird.ctl: permission denied" } },
    /^fail bird: .*permission denied → .*group bird/,
  ],
  ["no announce", { edge: edge({ announce: undefined }) }, /^fail lease: edge\.yaml has no `announce`/],
  [
    "a next hop that is not ours",
    { edge: edge({ announce: { nextHops: ["192.0.2.99"] } }) },
    /^fail lease: announce\.nextHops has 192\.0\.2\.99/,
  ],
  [
    "a process without a session",
    { processes: 2 },
    /^fail lease: .*127\.0\.0\.3 → (?:npx )?nearcast bgp config .*--processes 2/,
  ],
  [
    "the lease is not up",
    { bird: withSession({ state: "Passive" }) },
    /^fail lease: .*127\.0\.0\.2 .*Passive\) → run (?:npx )?nearcast status/,
  ],
  ["another AS", { bird: withSession({ neighborAs: 64999 }) }, /^fail lease: edge0 expects AS 64999.*64500/],
  ["a long lease", { bird: withSession({ holdSeconds: 30 }) }, /^warn lease: edge0 has a hold time of 30 s/],
  [
    "nothing announced",
    { bird: withSession({ importedCount: 0 }) },
    /^warn lease: edge0 is up, but the edge announces nothing/,
  ],
  [
    "no session for a router",
    { bird: { ok: true, state: { ...state, sessions: state.sessions.slice(0, 2) } } },
    /^fail routers: BIRD has no session configured for the router 2001:db8:1::1/,
  ],
  [
    "a router that is away",
    { bird: withSession({ state: "Active", lastError: "Socket: Connection refused", exportedCount: 0 }, 1) },
    /^fail routers: no session with the router 192\.0\.2\.1 \(router1: Active, Socket: Connection refused\)/,
  ],
  [
    "a router of another AS",
    { bird: withSession({ neighborAs: 65000 }, 1) },
    /^fail routers: router1 expects AS 65000/,
  ],
  [
    "graceful restart",
    { bird: withSession({ hasGracefulRestart: true }, 1) },
    /^fail routers: router1 offers graceful restart/,
  ],
  [
    "a long hold time",
    { bird: withSession({ holdSeconds: 90 }, 1) },
    /^warn routers: router1 has a hold time of 90 s; the fleet document has 9 s/,
  ],
  [
    "nothing exported",
    { bird: withSession({ exportedCount: 0 }, 1) },
    /^fail routers: router1 is up, but the edge's prefixes are not exported/,
  ],
  ["no BFD", { bird: { ok: true, state: { ...state, bfd: bfd.slice(1) } } }, /^fail routers: no BFD with 192\.0\.2\.1/],
  [
    "BFD down",
    { bird: { ok: true, state: { ...state, bfd: bfd.map((one) => ({ ...one, isUp: one !== bfd[0] })) } } },
    /^fail routers: BFD with 192\.0\.2\.1 is not up/,
  ],
  [
    "BFD slow",
    {
      bird: {
        ok: true,
        state: { ...state, bfd: bfd.map((one) => ({ ...one, timeoutMs: one === bfd[0] ? 3000 : 900 })) },
      },
    },
    /^warn routers: BFD with 192\.0\.2\.1 detects failures in 3000 ms/,
  ],
];

test("each fault is found, with what to do about it, and nothing else", () => {
  for (const [name, facts, wanted] of faults) {
    const found = judge({ ...good, ...facts }).filter(({ level }) => level !== "ok");
    const texts = found.map(text);
    assert.equal(texts.length, 1, `${name}:\n${texts.join("\n")}`);
    assert.match(texts[0] ?? "", wanted, name);
    assert.ok(found[0]?.mend !== undefined, name);
  }
});

test("addresses are the same however they are written", () => {
  const long = good.addresses.map((one) =>
    one.address === "2001:db8:a::53" ? { ...one, address: "2001:0db8:000a:0:0:0:0:0053" } : one,
  );
  assert.deepEqual(judge({ ...good, addresses: long }), judge(good));
});

test("sockets are read out of the kernel's tables", () => {
  const udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  10: 356433C6:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1 2 3 0
`;
  assert.deepEqual(socketsOf(udp, "udp"), [{ transport: "udp", address: "198.51.100.53", port: 53 }]);
  const tcp = `  sl  local_address                         remote_address                        st
   2: B80D012000000A000000000053000000:0035 00000000000000000000000000000000:0000 0A
   3: B80D012000000A000000000053000000:0035 00000000000000000000000000000000:0000 01
`;
  assert.deepEqual(socketsOf(tcp, "tcp"), [{ transport: "tcp", address: "2001:db8:a::53", port: 53 }]);
});

test("the facts of this very machine are gathered, and what can't be read is said", async () => {
  const facts = await gatherFacts({
    edge: edge({ dataDir: "/nowhere" }),
    processes: 1,
    fleet: undefined,
    birdSocket: "/nowhere/bird.ctl",
    proc: "/proc",
  });
  assert.ok(facts.addresses.some(({ device, address }) => device === "lo" && address === "127.0.0.1"));
  assert.ok(facts.devices.some(({ device, rpFilter }) => device === "all" && rpFilter !== undefined));
  assert.deepEqual(facts.bird, { ok: false, reason: "/nowhere/bird.ctl: no such file" });
  assert.match(facts.fleetReason ?? "", /\/nowhere\/fleet\.json/);
});

test("a connection from an address that is not of this machine, or of another family, is no crash", async () => {
  for (const source of ["2001:db8::2", "127.0.0.2"]) {
    const announce = { ...written.announce, source, neighbor: { host: "::1", port: 1 } };
    const { unsigned } = await gatherFacts({
      edge: edge({ dataDir: "/nowhere", announce }),
      processes: 1,
      fleet: undefined,
      birdSocket: "/nowhere/bird.ctl",
      proc: "/proc",
    });
    const [attempt] = unsigned;
    assert.equal(attempt?.source, source);
    assert.ok(typeof attempt.outcome === "object", JSON.stringify(unsigned));
    assert.match(attempt.outcome.reason, /E[A-Z]+/);
  }
});

test("the sessions of an edge that come from IPv6 are its lease, too", () => {
  const announce = { ...written.announce, source: "2001:db8:1::20", neighbor: { host: "2001:db8:1::10", port: 179 } };
  const facts: Facts = {
    ...good,
    edge: edge({ announce }),
    bird: {
      ok: true,
      state: {
        ...state,
        sessions: [
          { ...session, neighbor: "2001:db8:1::20" },
          ...toRouter.map((one) => ({ ...one, exportedCount: 0 })),
        ],
      },
    },
  };
  const failed = judge(facts).filter(({ level }) => level === "fail");
  assert.deepEqual(
    failed.map(({ about }) => about),
    toRouter.map(() => "routers"),
    failed.map(text).join("\n"),
  );
  assert.match(failed[0]?.what ?? "", /prefixes are not exported to/);
});

test("the command reads the document that the edge remembers, and ends with 1 when something fails", async (t) => {
  const folder = await temporaryDirectory(t);
  const dataDir = join(folder, "data");
  const { zones, sites, anycast, hosts } = anycastFleet();
  await mkdir(dataDir);
  const document = JSON.stringify({ zones, sites, anycast, hosts });
  await writeFile(join(dataDir, "fleet.json"), JSON.stringify({ version: 7, text: document }));
  const config = join(folder, "edge.yaml");
  await writeFile(config, JSON.stringify({ ...written, dataDir }));
  const words = ["bgp", "check", "--config", config, "--socket", join(folder, "no.ctl")];
  const said = await nearcast(words);
  assert.equal(said.status, 1, said.stderr);
  assert.match(said.stdout, /^ok +plan +site fra announces 198\.51\.100\.0\/24, 2001:db8:a::\/48 as AS 64500$/m);
  assert.match(said.stdout, /^fail +addresses .*198\.51\.100\.53 is not on this machine\n +→ ip address add/m);
  assert.match(said.stdout, /\d+ ok, \d+ warnings, \d+ failed\n$/);
  const json = (await nearcast([...words, "--json"])).json() as { ok: boolean; findings: Finding[] };
  assert.equal(json.ok, false);
  assert.ok(json.findings.some(({ about, level }) => about === "bird" && level === "fail"));
  const missing = await nearcast(["bgp", "check", "--config", "/nowhere.yaml"]);
  assert.equal(missing.status, 2);
});

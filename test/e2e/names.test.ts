/** The names' side of an edge as its owner sees it: settings, explanations, metrics, on both ways to answer UDP. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type packet from "dns-packet";
import { nearcast } from "../deploy/support/command.ts";
import { ask, exchange, optionOf } from "../support/ask.ts";
import { places, startWorld, until, type WorldEdge } from "../support/world.ts";

const nsidCode = 3;
/** One edge, and two sites beside it that the document says are up. */
const threeSites = {
  sites: (["fra", "nyc", "tyo"] as const).map((name, index) => ({
    name,
    place: places[name],
    addresses: [`192.0.2.${index + 1}`, `2001:db8::${index + 1}`],
    state: "up",
    nodes: [{ name: `${name}1`, http: "http://127.0.0.1:1" }],
  })),
};
const clients = [
  ["133.11.1.0/24", "192.0.2.3", "tyo"],
  ["81.2.69.0/24", "192.0.2.1", "fra"],
  ["8.8.8.0/24", "192.0.2.2", "nyc"],
] as const;

interface Explained {
  outcome: string;
  steering: { chosen: string; addresses: string[]; ttlSeconds: number; candidates: { site: string }[] };
}

async function explain(edge: WorldEdge, query: Record<string, string>): Promise<Explained> {
  const answer = await fetch(`${edge.adminUrl}/explain/dns?${new URLSearchParams(query).toString()}`);
  assert.equal(answer.status, 200);
  return (await answer.json()) as Explained;
}

test("with the city database that comes with nearcast, real networks are sent to the nearest site", async (t) => {
  const world = await startWorld(t, ["fra"], { fleet: threeSites, geo: "default" });
  const edge = world.edge("fra");
  for (const [subnet, address] of clients) {
    assert.deepEqual((await ask(edge.dns, "img.cdn.test", { subnet })).addresses, [address], subnet);
  }
  const { dns } = (await edge.status()) as { dns: { geo: string; version: number } };
  assert.match(dns.geo, /dbip-city/);
  assert.equal(dns.version, 1);
});

for (const threads of [1, 0]) {
  test(`with threads: ${threads}`, async (t) => {
    const world = await startWorld(t, ["fra"], {
      fleet: threeSites,
      dns: { threads, identity: { id: "frankfurt", version: "nearcast" } },
    });
    const edge = world.edge("fra");

    await t.test("an explanation is what the wire says, by the admin listener and by the command", async () => {
      for (const [subnet, address, site] of clients) {
        const { addresses, answer } = await ask(edge.dns, "img.cdn.test", { subnet });
        const { outcome, steering } = await explain(edge, { name: "img.cdn.test", ip: subnet });
        assert.deepEqual([outcome, steering.chosen, steering.addresses], ["steered", site, addresses], subnet);
        assert.deepEqual(addresses, [address]);
        const [record] = answer.answers ?? [];
        assert.equal(record?.type === "A" && record.ttl, steering.ttlSeconds);
      }
      const page = await nearcast(["explain", "img.cdn.test", "--from", "133.11.1.1", "--admin", edge.adminUrl]);
      assert.equal(page.status, 0, page.stderr);
      assert.match(page.stdout, /^img\.cdn\.test A for 133\.11\.1\.1 in JP \(35\.69, 139\.69\)$/m);
      assert.match(page.stdout, /^ {2}answer +192\.0\.2\.3 {2}\(site tyo\)$/m);
      assert.match(page.stdout, /^ {2}TTL +\d+ s(?::|,) .+$/m);
      assert.match(page.stdout, /^tyo +up +\d+ +100 % .* chosen$/m);
      assert.match(page.stdout, /^nyc +up +\d+ +100 % .* rank \d$/m);
    });

    await t.test("each query moves its counters", async () => {
      await ask(edge.dns, "nothing.cdn.test");
      await ask(edge.dns, "example.com");
      await until("the counts are published", async () => {
        const metrics = await edge.metrics();
        const counted = (transport: string, outcome: string): number | undefined =>
          metrics.get(`nearcast_dns_queries_total{transport="${transport}",outcome="${outcome}"}`);
        assert.deepEqual(
          [counted("udp", "noerror"), counted("udp", "nxdomain"), counted("udp", "refused"), counted("tcp", "noerror")],
          [3, 1, 1, 0],
        );
        return true;
      });
      const metrics = await edge.metrics();
      const figures = ["steered_total", "client_subnets_total", "threads", "fleet_version", "failures_total"];
      assert.deepEqual(
        figures.map((name) => metrics.get(`nearcast_dns_${name}`)),
        [3, 3, threads, 1, 0],
      );
      assert.equal((metrics.get("nearcast_dns_batches_total") ?? -1) > 0, threads > 0);
      for (const state of ["up", "down", "draining"]) {
        const value = metrics.get(`nearcast_site_state{site="tyo",state="${state}"}`);
        assert.equal(value, state === "up" ? 1 : 0);
      }
      assert.equal(metrics.get('nearcast_site_kept_share{site="tyo"}'), 1);
      assert.equal(metrics.get("nearcast_fleet_secret_known"), 1);
    });

    await t.test("it says who it is as the settings have it", async () => {
      const answer = await exchange(edge.dns, "img.cdn.test", { options: [{ code: nsidCode, data: Buffer.alloc(0) }] });
      assert.equal(optionOf(answer, nsidCode)?.toString(), "fra1");
      const texts = await Promise.all(["id.server", "version.bind"].map((name) => askChaos(edge, name)));
      assert.deepEqual(texts, ["frankfurt", "nearcast"]);
    });
  });
}

test("past the limit of answers a network is asked to come by TCP, where it is served", async (t) => {
  const world = await startWorld(t, ["fra"], { fleet: threeSites, dns: { responsesPerSecond: 20, slip: 1 } });
  const edge = world.edge("fra");
  const asked = 200;
  const answers = await Promise.all(
    Array.from({ length: asked }, () => exchange(edge.dns, "img.cdn.test", { timeoutMs: 10_000 })),
  );
  const isSlipped = (answer: packet.DecodedPacket): boolean => answer.flag_tc && (answer.answers ?? []).length === 0;
  const slipped = answers.filter(isSlipped).length;
  const whole = answers.filter(({ answers: records = [] }) => records.length === 1).length;
  assert.equal(slipped + whole, asked, "each of them is one or the other");
  assert.ok(slipped > 0 && whole >= 20, `${slipped} slipped, ${whole} whole`);
  await until("it is counted", async () => {
    return (await edge.metrics()).get('nearcast_dns_queries_total{transport="udp",outcome="slipped"}') === slipped;
  });
  const byTcp = await nearcast(["dig", "img.cdn.test", "--tcp", "--server", `${edge.dns.host}:${edge.dns.port}`]);
  assert.match(byTcp.stdout, /192\.0\.2\.\d/);
  assert.equal((await edge.metrics()).get("nearcast_dns_tcp_accepted_total"), 1);
});

/** A TXT of class CH, as text. */
async function askChaos(edge: WorldEdge, name: string): Promise<string> {
  const answer = await exchange(edge.dns, name, { type: "TXT", class: "CH" });
  const [record] = answer.answers ?? [];
  assert.ok(record?.type === "TXT", JSON.stringify(answer));
  return [record.data].flat().join("");
}

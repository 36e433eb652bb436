/** An edge that serves HTTPS from certificate files: it starts, answers, takes a renewal under load, and reports. */
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { request } from "node:https";
import { test, type TestContext } from "node:test";
import { connect } from "node:tls";
import { stringify } from "yaml";
import { systemClock } from "#base/clock.ts";
import { silentLog } from "#base/log.ts";
import { systemRandom } from "#base/random.ts";
import { check } from "#base/schema.ts";
import { openFleetMemory } from "#follow/fleet-memory.ts";
import { edgeConfigSchema, type EdgeConfig } from "../../../node/config.ts";
import { type Edge, startEdge } from "../../../node/edge/edge.ts";
import { alone } from "../../../node/processes/process-share.ts";
import { openSiblings } from "../../../node/processes/machine-load.ts";
import { certificateFor, testAuthority, writePair } from "../../support/certificates.ts";
import { fleetValue, siteValue } from "../../support/fleet.ts";
import { temporaryDirectory } from "../../support/temporary.ts";
import { turnsUntil } from "../../support/turns-until.ts";
import { testBoth, type Through } from "../tls/secured.ts";

const host = "127.0.0.1";

/** An edge that remembers its fleet, and whose origin is down. */
async function startHttps(
  t: TestContext,
  https: object | undefined,
  hosts: readonly object[],
  through: Through = "the main thread",
): Promise<Edge> {
  const dataDir = join(await temporaryDirectory(t), "data");
  await mkdir(dataDir);
  const tokenFile = join(dataDir, "edge.token");
  await writeFile(tokenFile, "t".repeat(43), { mode: 0o600 });
  const memory = await openFleetMemory(dataDir);
  await memory.storeFleet(1, stringify(fleetValue({ sites: [siteValue("fra")], hosts })));
  const checked = check(edgeConfigSchema, {
    node: "fra1",
    site: "fra",
    dataDir,
    origin: { url: `http://${host}:1`, tokenFile },
    http: [{ host, port: 0 }],
    ...(https === undefined ? {} : { https: { addresses: [{ host, port: 0 }], ...https } }),
    admin: { host, port: 0 },
    decoders: { processes: 1 },
    front: { lanes: through === "a lane" ? 1 : 0 },
    dns: { addresses: [], geoFiles: [] },
    drainMs: 0,
  });
  assert(checked.ok, JSON.stringify(checked));
  const config: EdgeConfig = checked.value;
  const siblings = openSiblings({ count: 1, clock: systemClock });
  const deps = { process: alone, siblings, clock: systemClock, random: systemRandom, log: silentLog };
  const edge = await startEdge(config, { ...deps, startDns: () => Promise.reject(new Error("no DNS here")) });
  t.after(() => edge.drain());
  await edge.ready;
  return edge;
}

const portOf = ({ http }: Edge): number => http.find(({ isSecure }) => isSecure)?.port ?? 0;

/** The status of a request on a connection of its own, with the certificate verified. */
async function statusOf(edge: Edge, servername: string, path: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const asked = request(
      {
        host,
        port: portOf(edge),
        path,
        servername,
        ca: testAuthority.certificatePem,
        agent: false,
        headers: { host: servername },
      },
      (response) => {
        response.resume();
        response.on("end", () => {
          resolve(response.statusCode ?? 0);
        });
      },
    );
    asked.on("error", reject).end();
  });
}

async function adminJson(edge: Edge, path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`http://${host}:${edge.admin.port}${path}`)).json()) as Record<string, unknown>;
}

async function metric(edge: Edge, name: string): Promise<number> {
  const text = await (await fetch(`http://${host}:${edge.admin.port}/metrics`)).text();
  return Number(
    text
      .split("\n")
      .find((line) => line.startsWith(`${name} `))
      ?.split(" ")[1],
  );
}

testBoth(
  "an edge answers probes and requests over HTTPS, and tells status and metrics of its certificates",
  async (t, through) => {
    const directory = await temporaryDirectory(t);
    await writePair(
      join(directory, "img"),
      await certificateFor(["img.cdn.test"], { validToMs: Date.UTC(2040, 0, 2) }),
    );
    const hosts = ["img.cdn.test", "other.test"].map((name) => ({ name, kind: "images" }));
    const edge = await startHttps(t, { certificateDirectory: directory }, hosts, through);
    assert.equal(await statusOf(edge, "img.cdn.test", "/.nearcast/health"), 200);
    assert.equal(await statusOf(edge, "img.cdn.test", "/a.jpg?w=0"), 400);
    const { tls } = await adminJson(edge, "/status");
    const { certificates, nextExpiry, problems, hostsWithout } = tls as Record<string, unknown>;
    assert.deepEqual(
      { certificates, nextExpiry, problems, hostsWithout },
      { certificates: 1, nextExpiry: "2040-01-02T00:00:00Z", problems: [], hostsWithout: ["other.test"] },
    );
    assert.equal(await metric(edge, "nearcast_tls_hosts_without_certificate"), 1);
    assert.equal(await metric(edge, "nearcast_tls_certificate_expiry_seconds"), Date.UTC(2040, 0, 2) / 1000);
    assert.equal(await metric(edge, 'nearcast_tls_handshakes_total{version="TLSv1.3",result="full"}'), 2);
  },
);

test("a node without HTTPS tells of the hosts that redirect to it", async (t) => {
  const hosts = ["img.cdn.test", "other.test"].map((name) => ({ name, kind: "images" }));
  const edge = await startHttps(t, undefined, [{ ...hosts[0], redirectToHttps: true }, hosts[1] ?? {}]);
  const { tls, redirectingWithoutHttps } = await adminJson(edge, "/status");
  assert.deepEqual([tls, redirectingWithoutHttps], [null, ["img.cdn.test"]]);
});

test("explain says that a host redirects HTTP, and where to", async (t) => {
  const directory = await temporaryDirectory(t);
  await writePair(join(directory, "img"), await certificateFor(["img.cdn.test"]));
  const hosts = [{ name: "img.cdn.test", kind: "images", redirectToHttps: true }];
  const edge = await startHttps(t, { certificateDirectory: directory, publicPort: 8443 }, hosts);
  const explained = async (url: string): Promise<unknown> => {
    const { host: name, redirectsTo } = await adminJson(edge, `/explain?url=${encodeURIComponent(url)}`);
    return [name, redirectsTo];
  };
  assert.deepEqual(await explained("http://img.cdn.test/a.jpg?w=9"), [
    "img.cdn.test",
    "https://img.cdn.test:8443/a.jpg?w=9",
  ]);
  assert.deepEqual(await explained("https://img.cdn.test/a.jpg?w=9"), ["img.cdn.test", undefined]);
});

testBoth("a renewal under load fails no request, and ends no connection", async (t, through) => {
  const directory = await temporaryDirectory(t);
  const stem = join(directory, "img");
  await writePair(stem, await certificateFor(["img.cdn.test"]));
  const edge = await startHttps(
    t,
    { certificateDirectory: directory },
    [{ name: "img.cdn.test", kind: "images" }],
    through,
  );
  const kept = connect({ host, port: portOf(edge), servername: "img.cdn.test", ca: testAuthority.certificatePem });
  t.after(() => kept.destroy());
  let keptAnswers = "";
  kept.on("data", (chunk: Buffer) => (keptAnswers += chunk.toString("latin1")));
  const ask = (): void => {
    kept.write("GET /.nearcast/health HTTP/1.1\r\nHost: img.cdn.test\r\n\r\n");
  };
  ask();
  const load = { isOver: false };
  let requests = 0;
  const clients = Array.from({ length: 4 }, async () => {
    while (!load.isOver) {
      assert.equal(await statusOf(edge, "img.cdn.test", "/.nearcast/health"), 200);
      requests += 1;
    }
  });
  await writePair(stem, await certificateFor(["img.cdn.test", "new.cdn.test"]));
  const isRenewed = async (): Promise<boolean> =>
    await statusOf(edge, "new.cdn.test", "/.nearcast/health").then(
      () => true,
      () => false,
    );
  while (!(await isRenewed())) await new Promise((resolve) => setTimeout(resolve, 100));
  load.isOver = true;
  await Promise.all(clients);
  assert.ok(requests > 20, `${requests} requests`);
  ask();
  await turnsUntil(() => keptAnswers.split("200 OK").length === 3);
  assert.equal(await metric(edge, "nearcast_tls_certificate_reloads_total"), 1);
});

test("an edge without a usable certificate does not start", async (t) => {
  const directory = await temporaryDirectory(t);
  const starting = startHttps(t, { certificateDirectory: directory }, []);
  await assert.rejects(starting, /no certificate was found/);
});

import { NearcastError } from "#base/errors.ts";
import { packZones } from "#document/packed-zones.ts";
import type { SiteState } from "#health/health.ts";
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { TCPClient, UDPClient } from "dns2";
import { needsProgram } from "../support/needs.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { queryOf, readAnswer } from "./support/ask.ts";
import { testFleet, zoneText } from "./support/fleet.ts";
import { writeMmdb } from "./support/mmdb-writer.ts";
import { askUdp, exchange, framed, inputsOf, openTcp, running } from "./support/sockets.ts";

const run = promisify(execFile);

test("before the first update the answer is SERVFAIL, after it the truth", async (t) => {
  const { dns, port } = await running(t, {}, "not yet");
  assert.equal(readAnswer(await askUdp(port, queryOf({}))).rcode, 2);
  assert.equal(dns.explain({ name: "img.cdn.test", type: "A", ip: "127.0.0.1" }), undefined);
  await dns.update({ ...inputsOf(), version: 1 });
  assert.equal(readAnswer(await askUdp(port, queryOf({}))).rcode, 0);
  assert.equal(dns.explain({ name: "img.cdn.test", type: "A", ip: "127.0.0.1" })?.outcome, "steered");
});

test("a change of health or of the document is in the next answer", async (t) => {
  const { dns, port } = await running(t);
  const fleet = testFleet();
  const serial = async (): Promise<string> =>
    readAnswer(await askUdp(port, queryOf({ name: "cdn.test", type: "SOA" }))).answers.join();
  const address = async (): Promise<string> => readAnswer(await askUdp(port, queryOf({}))).answers.join();
  assert.match(await address(), / A 127\.0\.1\.1$/);
  const siteStates = new Map<string, SiteState>([["fra", "down"]]);
  await dns.update({ ...inputsOf(), fleet, siteStates });
  assert.match(await address(), / A 127\.0\.2\./);
  await dns.update({ ...inputsOf(), fleet });
  assert.match(await address(), / A 127\.0\.1\.1$/);
  assert.match(await serial(), / 7 7200 /);
  await dns.update({ ...inputsOf(), fleet, version: 8 });
  assert.match(await serial(), / 8 7200 /);
});

test("packed zones answer like whole ones, with other addresses and zones too; explain knows ALIAS", async (t) => {
  const zones = (address: string): string =>
    zoneText(`      - {name: plain, type: ALIAS, target: host}\n      - {name: host, type: A, address: ${address}}`);
  const packed = packZones(testFleet({ zones: zones("192.0.2.80"), steering: "" }));
  assert(packed.zones.every(({ records }) => records.every(({ type }) => type === "ALIAS")));
  const { dns, port } = await running(t, {}, { fleet: packed });
  const address = async (name: string): Promise<string> =>
    readAnswer(await askUdp(port, queryOf({ name: `${name}.cdn.test` }))).answers.join();
  assert.match(await address("host"), / A 192\.0\.2\.80$/);
  const explained = dns.explain({ name: "plain.cdn.test", type: "A", ip: "127.0.0.1" });
  assert.match(JSON.stringify(explained), /host\.cdn\.test/);
  // The same zones in another document, as when a node's address comes and goes.
  await dns.update({ ...inputsOf(), fleet: { ...packed } });
  assert.match(await address("host"), / A 192\.0\.2\.80$/);
  const other = testFleet({ zones: zones("192.0.2.81"), steering: "" });
  await dns.update({ ...inputsOf(), fleet: packZones(other) });
  assert.match(await address("host"), / A 192\.0\.2\.81$/);
  await dns.update({ ...inputsOf(), fleet: testFleet({ zones: zones("192.0.2.82"), steering: "" }) });
  assert.match(await address("host"), / A 192\.0\.2\.82$/);
});

test("an answer that does not fit into UDP comes whole over TCP on the same port", async (t) => {
  const records = Array.from(
    { length: 20 },
    (_, i) => `      - {name: big, type: TXT, text: ["${`${i} `.padEnd(200, "x")}"]}`,
  ).join("\n");
  const fleet = testFleet({ zones: zoneText(records), steering: "" });
  const { port } = await running(t, {}, { fleet });
  const query = queryOf({ name: "big.cdn.test", type: "TXT", edns: { udpSize: 4096 } });
  const cut = readAnswer(await askUdp(port, query));
  assert.deepEqual([cut.flags, cut.answers.length, cut.opt?.udpSize], ["qr aa tc", 0, 1232]);
  const client = await openTcp(t, port);
  client.socket.write(framed(query));
  const whole = readAnswer(await client.next());
  assert.deepEqual([whole.flags, whole.answers.length], ["qr aa", 20]);
});

test("an address that is taken is an error that names it, and nothing stays bound", async (t) => {
  // An address of this test's own, so that no other test's client has one of its ports.
  const host = `127.77.${process.pid % 256}.${1 + (process.ppid % 254)}`;
  const [first, port] = [5300, 5301];
  const taken = createServer();
  taken.listen(port, host);
  await once(taken, "listening");
  t.after(() => taken.close());
  const addresses = [
    { host, port: first },
    { host, port },
  ];
  await assert.rejects(
    () => running(t, { addresses }),
    (error) =>
      error instanceof NearcastError &&
      error.code === "CANNOT_LISTEN" &&
      error.message === `can't listen for DNS over TCP on ${host} port ${port}: the address is in use`,
  );
  const again = await running(t, { addresses: [{ host, port: first }] });
  assert.equal(again.port, first);
});

test("missing geo data do not keep it from starting", async (t) => {
  const { dns, port } = await running(t, { geo: { files: ["/nonexistent/geo.mmdb"] } });
  assert.equal(dns.geo(), "no geo data");
  assert.equal(readAnswer(await askUdp(port, queryOf({ subnet: "133.11.1.0/24" }))).answers.length, 1);
});

test("close() frees the port and may be called twice", async (t) => {
  const { dns, port } = await running(t);
  await dns.close();
  await dns.close();
  await running(t, { addresses: [{ host: "127.0.0.1", port }] });
});

for (const threads of [0, 1, 2]) {
  test(`${threads} batch threads: answers, counters and limits are the same`, async (t) => {
    const { dns, port } = await running(t, {
      threads,
      guard: { responsesPerSecond: 5, slip: 2, amplificationMax: 3 },
      identity: { nsid: "fra1", id: "fra1" },
    });
    assert.equal(dns.threads(), threads);
    const first = readAnswer(await askUdp(port, queryOf({ edns: { options: [{ code: 3, data: [] }] } })));
    assert.deepEqual([first.rcode, first.opt?.options], [0, [3]]);
    const chaos = readAnswer(await askUdp(port, queryOf({ name: "id.server", type: "TXT", class: 3 })));
    assert.match(chaos.answers.join(), /fra1/);
    const version = readAnswer(await askUdp(port, queryOf({ name: "version.bind", type: "TXT", class: 3 })));
    assert.equal(version.rcode, 5, "said to nobody unless it is set");
    // A cookie that was given once exempts from the limit of five answers a second.
    const clientCookie = [1, 2, 3, 4, 5, 6, 7, 8];
    const given = readAnswer(await askUdp(port, queryOf({ edns: { options: [{ code: 10, data: clientCookie }] } })));
    const cookie = given.options.get(10) ?? Buffer.alloc(0);
    assert.equal(cookie.length, 24);
    for (let asked = 0; asked < 20; asked++) {
      const withCookie = queryOf({ edns: { options: [{ code: 10, data: [...cookie] }] } });
      assert.deepEqual(readAnswer(await askUdp(port, withCookie)).flags, "qr aa");
    }
    const { outcomes, cookiesValid, failures } = dns.stats();
    assert.deepEqual([outcomes.udp.noerror, outcomes.udp.refused, cookiesValid, failures], [23, 1, 20, 0]);
    const flood = Array.from({ length: 200 }, () => queryOf({ id: 7 }));
    const answers = await exchange(
      port,
      flood,
      queryOf({ id: 8, edns: { options: [{ code: 10, data: [...cookie] }] } }),
    );
    const whole = answers.filter((answer) => readAnswer(answer).answers.length > 0).length;
    const slipped = answers.filter((answer) => readAnswer(answer).flags.includes("tc")).length;
    assert.ok(whole <= 10, `${whole} whole answers to a limited client`);
    assert.ok(slipped > 50, `${slipped} asked for TCP`);
    assert.ok(dns.stats().outcomes.udp["ignored-rate"] > 50);
  });
}

test("the independent client dns2 understands the answers, over UDP and TCP", async (t) => {
  const { port } = await running(t, { geo: {} });
  for (const resolve of [UDPClient({ dns: "127.0.0.1", port }), TCPClient({ dns: "127.0.0.1", port })]) {
    const plain = await resolve("mail.cdn.test", "A");
    assert.deepEqual(
      plain.answers.map((one) => one.address),
      ["192.0.2.25", "192.0.2.26"],
    );
    const chain = await resolve("alias.cdn.test", "A");
    assert.equal(chain.answers.length, 3);
    const denied = await resolve("nope.cdn.test", "A");
    assert.deepEqual([denied.header.rcode, denied.authorities.length], [3, 1]);
  }
  const steered = await UDPClient({ dns: "127.0.0.1", port })("img.cdn.test", "A", 1, {
    clientIp: "133.11.1.0/24",
  });
  assert.equal(steered.answers[0]?.address, "127.0.3.1");
});

test("dig sends Tokyo, London and the USA to their nearest sites, and gets the scope back", async (t) => {
  if (!needsProgram(t, "dig")) return;
  const { port } = await running(t, { geo: {} });
  const dig = async (...words: string[]): Promise<string> =>
    (await run("dig", ["@127.0.0.1", "-p", String(port), "+norec", "+tries=1", "+time=5", ...words])).stdout;
  const cases: readonly (readonly [string, RegExp])[] = [
    ["133.11.1.0/24", /\sA\s+127\.0\.3\.1\n/],
    ["81.2.69.0/24", /\sA\s+127\.0\.1\.1\n/],
    ["8.8.8.0/24", /\sA\s+127\.0\.2\.[12]\n/],
  ];
  for (const [subnet, expected] of cases) {
    const text = await dig("img.cdn.test", `+subnet=${subnet}`);
    assert.match(text, /status: NOERROR/);
    assert.match(text, /flags: qr aa;/);
    assert.match(text, expected, subnet);
    assert.ok(new RegExp(`CLIENT-SUBNET: ${subnet}/[1-9]\\d*\n`).test(text), text);
    assert.doesNotMatch(text, /WARNING|malformed/i);
  }
  assert.match(await dig("img.cdn.test", "+subnet=0"), /CLIENT-SUBNET: 0\.0\.0\.0\/0\/0|CLIENT-SUBNET: 0\/0\/0/);
  assert.match(await dig("cdn.test", "ANY"), /HINFO\s+"RFC8482" ""/);
  assert.match(await dig("cdn.test", "SOA", "+tcp", "+dnssec"), /flags: do;/);
  assert.match(await dig("img.cdn.test", "+edns=1", "+noednsnegotiation"), /status: BADVERS/);
  assert.match(await dig("img.cdn.test", "+opcode=15", "+header-only"), /status: NOTIMP/);
  assert.match(await dig("cdn.test", "AXFR"), /Transfer failed/);
});

test("a changed geo file is taken while queries come, a broken one is not, and no answer is lost", async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, "geo.mmdb");
  const worldAt = (latitude: number, longitude: number): Buffer =>
    writeMmdb({ ipVersion: 4, databaseType: "city", records: { "128.0.0.0/1": { latitude, longitude } } });
  const [frankfurt, tokyo] = [worldAt(50, 8), worldAt(35, 139)];
  await writeFile(path, frankfurt);
  const { dns, port } = await running(t, { geo: { files: [path] }, geoCheckMs: 50 });
  const query = queryOf({ subnet: "133.11.1.0/24" });
  const answer = async (): Promise<string> =>
    readAnswer(await askUdp(port, query))
      .answers.join()
      .split(" ")
      .at(-1) ?? "";
  const becomes = async (address: string): Promise<void> => {
    const seen = new Set<string>();
    for (let last = ""; last !== address; seen.add(last)) last = await answer();
    assert.ok(
      [...seen].every((one) => one === "127.0.1.1" || one === "127.0.3.1"),
      [...seen].join(),
    );
  };
  await becomes("127.0.1.1");
  await writeFile(path, tokyo);
  await becomes("127.0.3.1");
  await writeFile(path, frankfurt.subarray(0, 100));
  for (let asked = 0; asked < 500; asked++) assert.equal(await answer(), "127.0.3.1", "what was in force stays");
  await writeFile(path, frankfurt);
  await becomes("127.0.1.1");
  assert.equal(dns.stats().failures, 0);
});

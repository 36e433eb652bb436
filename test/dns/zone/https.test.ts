/** HTTPS and SVCB (RFC 9460): parameters, and hints that are always what this client's A and AAAA would be. */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { ipToText, parseIp, type IpAddress } from "../../../dns/wire/address.ts";
import { queryOf, readServices, type Asking, type ServiceReading } from "../support/ask.ts";
import { bench, octetGeo, testFleet } from "../support/fleet.ts";

/** img.cdn.test, as bytes. */
const rawTarget = Buffer.from("\x03img\x03cdn\x04test\x00", "latin1").toString("hex");
const zones = `
zones:
  - name: cdn.test
    ttlSeconds: 300
    negativeTtlSeconds: 60
    nameservers: [{name: ns1, addresses: [192.0.2.1]}]
    records:
      - {name: "@", type: ALIAS, target: img}
      - {name: "@", type: HTTPS, priority: 1, target: ".", params: {alpn: [h2, h3]}}
      - {name: img, type: HTTPS, priority: 1, target: ".",
         params: {alpn: [h2], ech: AAECAw==, port: 8443, other: {key9: "0a0b", key7: "2f"}}}
      - {name: www, type: CNAME, target: img, ttlSeconds: 20}
      - {name: to-www, type: HTTPS, priority: 1, target: www}
      - {name: static, type: HTTPS, priority: 1, target: mail}
      - {name: mail, type: A, address: 192.0.2.25, ttlSeconds: 200}
      - {name: mail, type: A, address: 192.0.2.26, ttlSeconds: 200}
      - {name: mail, type: A, address: 192.0.2.25, ttlSeconds: 200}
      - {name: mail, type: AAAA, address: "2001:db8::25", ttlSeconds: 100}
      - {name: away, type: HTTPS, priority: 1, target: cdn.example.net.,
         params: {ipv4hint: [198.51.100.9, 198.51.100.8], ipv6hint: ["2001:db8::9"]}}
      - {name: nowhere, type: HTTPS, priority: 1, target: not-there}
      - {name: alias-mode, type: HTTPS, priority: 0, target: img}
      - {name: none, type: HTTPS, priority: 0, target: "."}
      - {name: full, type: SVCB, priority: 7, target: cdn.example.net.,
         params: {mandatory: [port, alpn, key9], alpn: [h2, "a,b"], noDefaultAlpn: true, port: 853, other: {key9: ff}}}
      - {name: several, type: HTTPS, priority: 2, target: any, params: {alpn: [h3]}}
      - {name: several, type: HTTPS, priority: 1, target: img, params: {alpn: [h2]}}
      - {name: several, type: HTTPS, priority: 3, target: mail}
      - {name: several, type: HTTPS, priority: 0, target: mail}
      - {name: raw, type: RAW, typeNumber: 65, data: "0001${rawTarget}0001000302683200040004c6336409"}
      - {name: "*.wild", type: HTTPS, priority: 1, target: "."}
      - {name: "*.wild", type: ALIAS, target: img}
`;
const steering = `
steering:
  - {name: img.cdn.test, policy: geo, ttlSeconds: 30}
  - {name: weighted.cdn.test, policy: weighted, weights: {fra: 3, nyc: 1, tyo: 2}, ttlSeconds: 25}
  - {name: any.cdn.test, policy: anycast, ttlSeconds: 40}
anycast: {addresses: [203.0.113.7, "2001:db8:ffff::7"]}
`;
const { ask, send, problems } = bench({ fleet: testFleet({ zones, steering }), geo: octetGeo });

function services(asking: Asking): ServiceReading[] {
  const query = queryOf({ type: "HTTPS", ...asking });
  return readServices(query, send(query));
}

function service(name: string, rest: Asking = {}): ServiceReading {
  const all = services({ name: `${name}.cdn.test`, ...rest });
  assert.equal(all.length, 1, name);
  return all[0] ?? assert.fail();
}

/** Addresses in a hint, as text. */
function hint({ params }: ServiceReading, family: 4 | 6): string[] {
  const octets = family === 4 ? 4 : 16;
  const value = params.get(family) ?? Buffer.alloc(0);
  assert.ok(value.length % octets === 0 && (value.length > 0 || !params.has(family)), "no empty hint");
  return Array.from({ length: value.length / octets }, (_, index) => {
    const bytes = new Uint8Array(16);
    bytes.set(value.subarray(index * octets, (index + 1) * octets));
    return ipToText({ family, bytes } satisfies IpAddress);
  });
}

/** A or AAAA that the client gets for `name`, behind whatever aliases, as text in one form. */
function addresses(name: string, type: "A" | "AAAA", rest: Asking): string[] {
  return ask({ name, type, ...rest })
    .answers.map((text) => text.split(" "))
    .filter(([, , one]) => one === type)
    .map(([, , , address = ""]) => ipToText(parseIp(address) ?? assert.fail()));
}

test("the document is compiled without a complaint", () => {
  assert.deepEqual(problems, []);
});

test("parameters stand in the order of their keys, mandatory is sorted", () => {
  const img = service("img", { subnet: "3.3.3.0/24" });
  assert.deepEqual([...img.params.keys()], [1, 3, 4, 5, 6, 7, 9]);
  assert.deepEqual([...(img.params.get(1) ?? [])], [2, 0x68, 0x32]);
  assert.deepEqual([...(img.params.get(3) ?? [])], [0x20, 0xfb]);
  assert.deepEqual([...(img.params.get(5) ?? [])], [0, 1, 2, 3]);
  assert.deepEqual([...(img.params.get(7) ?? [])], [0x2f]);
  assert.deepEqual([img.priority, img.target], [1, ""]);
  const full = service("full", { type: "SVCB" });
  assert.deepEqual([full.priority, full.target], [7, "cdn.example.net"]);
  assert.deepEqual([...full.params.keys()], [0, 1, 2, 3, 9]);
  assert.deepEqual([...(full.params.get(0) ?? [])], [0, 1, 0, 3, 0, 9]);
  assert.equal(full.params.get(1)?.toString("latin1"), "\x02h2\x03a,b");
  assert.equal(full.params.get(2)?.length, 0);
});

test("alias mode has a target and no parameters", () => {
  const { priority, target, params } = service("alias-mode");
  assert.deepEqual([priority, target, params.size], [0, "img.cdn.test", 0]);
  assert.deepEqual([service("none").target, service("none").params.size], ["", 0]);
});

test("a target with fixed addresses: they are the hints, whatever the record said, at the least TTL", () => {
  const fixed = service("static");
  assert.deepEqual(hint(fixed, 4), ["192.0.2.25", "192.0.2.26"]);
  assert.deepEqual(hint(fixed, 6), ["2001:db8:0:0:0:0:0:25"]);
  assert.equal(fixed.ttlSeconds, 100);
  assert.deepEqual([...service("nowhere").params.keys()], [], "a name of ours that is not there has no addresses");
});

test("a target elsewhere keeps the record's own hints", () => {
  const away = service("away");
  assert.deepEqual(hint(away, 4), ["198.51.100.9", "198.51.100.8"]);
  assert.deepEqual(hint(away, 6), ["2001:db8:0:0:0:0:0:9"]);
});

test("a steered target: hints per client, the scope of the decision, the least TTL", () => {
  for (const [name, ttlSeconds] of [
    ["img", 30],
    ["to-www", 20],
    ["raw", 30],
    ["x.wild", 30],
  ] as const) {
    const tokyo = service(name, { subnet: "3.3.3.0/24" });
    assert.deepEqual([hint(tokyo, 4), hint(tokyo, 6)], [["127.0.3.1"], ["2001:db8:3:0:0:0:0:1"]], name);
    assert.equal(tokyo.ttlSeconds, ttlSeconds, name);
    const newYork = service(name, { subnet: "2.3.3.0/24" });
    assert.deepEqual(hint(newYork, 4).toSorted(), ["127.0.2.1", "127.0.2.2"], name);
    assert.ok(!newYork.params.has(6), "no IPv6 address, no hint");
  }
  const apex = services({ name: "cdn.test", subnet: "3.3.3.0/24" });
  assert.deepEqual(
    apex.map((one) => hint(one, 4)),
    [["127.0.3.1"]],
    "the apex is an ALIAS of the steered name",
  );
  const query = { type: "HTTPS", name: "img.cdn.test", subnet: "3.3.3.0/24" };
  assert.equal(ask(query).subnet, ask({ ...query, type: "A" }).subnet);
});

test("several records, some steered, in one answer with one TTL", () => {
  const all = services({ name: "several.cdn.test", subnet: "3.3.3.0/24" });
  assert.deepEqual(
    all.map((one) => [one.priority, one.target, hint(one, 4), one.ttlSeconds]),
    [
      [2, "any.cdn.test", ["203.0.113.7"], 30],
      [1, "img.cdn.test", ["127.0.3.1"], 30],
      [3, "mail.cdn.test", ["192.0.2.25", "192.0.2.26"], 30],
      [0, "mail.cdn.test", [], 30],
    ],
  );
});

test("hints equal the A and AAAA of the same client, for 3,000 random clients", () => {
  const seed = 20_261_121;
  const random = seededRandom(seed);
  const fleet = testFleet({
    zones: zones.replace("target: any,", "target: weighted,"),
    steering,
  });
  for (const states of [new Map(), new Map([["tyo", "down"]]) as ReadonlyMap<string, "down">]) {
    const one = bench({ fleet, geo: octetGeo, states });
    for (let i = 0; i < 1500; i++) {
      const octet = (): number => Math.floor(random() * 256);
      const near = Math.floor(random() * 4);
      const subnet =
        random() < 0.5
          ? `${near}.${octet()}.${octet()}.0/24`
          : `${near.toString(16)}${octet().toString(16).padStart(2, "0")}:${octet().toString(16)}::/56`;
      for (const [name, target] of [
        ["cdn.test", "cdn.test"],
        ["to-www.cdn.test", "www.cdn.test"],
        ["several.cdn.test", "weighted.cdn.test"],
      ] as const) {
        const where = `seed ${seed}, turn ${i}, ${name} from ${subnet}`;
        const query = queryOf({ name, type: "HTTPS", subnet });
        const read = readServices(query, one.send(query))[0] ?? assert.fail(where);
        for (const family of [4, 6] as const) {
          const answers = one
            .ask({ name: target, type: family === 4 ? "A" : "AAAA", subnet })
            .answers.map((text) => text.split(" "))
            .filter(([, , type]) => type !== "CNAME");
          const expected = answers.map(([, , , address = ""]) => ipToText(parseIp(address) ?? assert.fail(where)));
          assert.deepEqual(hint(read, family).toSorted(), expected.toSorted(), where);
          for (const [, ttl] of answers) assert.ok(read.ttlSeconds <= Number(ttl), where);
        }
      }
    }
  }
});

test("the client without a subnet is its resolver", () => {
  const from = { address: parseIp("3.0.0.1") ?? assert.fail() };
  const query = queryOf({ name: "img.cdn.test", type: "HTTPS" });
  const read = readServices(query, send(query, from))[0] ?? assert.fail();
  assert.deepEqual(hint(read, 4), addresses("img.cdn.test", "A", { subnet: "3.0.0.0/24" }));
});

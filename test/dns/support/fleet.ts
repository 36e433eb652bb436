/** A fleet of three sites, as tests need it, and a responder over it without sockets. */
import { seededRandom } from "#base/random.ts";
import type { Fleet } from "#document/document.ts";
import { parseFleet } from "#document/read-document.ts";
import type { SiteStates } from "#health/health.ts";
import assert from "node:assert/strict";
import { newCounters, readStats, type DnsStats } from "../../../dns/counters.ts";
import { emptyGeo, type GeoTables, type RangeTable } from "../../../dns/geo/tables.ts";
import { createCookies, type Cookies } from "../../../dns/guard/cookie.ts";
import type { RateLimit } from "../../../dns/guard/rate-limit.ts";
import type { Client, Identity } from "../../../dns/answer/state.ts";
import { createResponder, type Respond } from "../../../dns/responder.ts";
import type { Snapshot } from "../../../dns/snapshot.ts";
import { compileSteering } from "../../../dns/steer/steering.ts";
import { parseIp } from "../../../dns/wire/address.ts";
import { compileZones } from "../../../dns/zone/compile.ts";
import { queryOf, readAnswer, type Asking, type Reading } from "./ask.ts";

const sites = `
sites:
  - {name: fra, place: {latitude: 50.11, longitude: 8.68}, addresses: [127.0.1.1, "2001:db8:1::1"],
     nodes: [{name: fra1, http: "http://127.0.1.1:8080"}]}
  - {name: nyc, place: {latitude: 40.71, longitude: -74.01}, addresses: [127.0.2.1, 127.0.2.2],
     nodes: [{name: nyc1, http: "http://127.0.2.1:8080"}]}
  - {name: tyo, place: {latitude: 35.68, longitude: 139.69}, addresses: [127.0.3.1, "2001:db8:3::1"],
     nodes: [{name: tyo1, http: "http://127.0.3.1:8080"}]}
hosts:
  - {name: img.cdn.test, kind: images}
`;

/** The zone cdn.test with these records, each a line of YAML. */
export function zoneText(records: string): string {
  const head = [
    "zones:",
    "  - name: cdn.test",
    "    nameservers: [{name: ns1, addresses: [192.0.2.1]}]",
    "    records:",
  ];
  return `${head.join("\n")}\n${records}\n`;
}

const zones = `
zones:
  - name: cdn.test
    ttlSeconds: 300
    negativeTtlSeconds: 60
    contact: dns.admin@example.net
    nameservers:
      - {name: ns1, addresses: [192.0.2.1, "2001:db8::1"]}
      - {name: ns.example.net., addresses: []}
    records:
      - {name: "@", type: TXT, text: ["hello world", "second string"]}
      - {name: "@", type: MX, preference: 10, exchange: mail}
      - {name: "@", type: CAA, flags: 0, tag: issue, value: ca.example.net}
      - {name: mail, type: A, address: 192.0.2.25, ttlSeconds: 600}
      - {name: mail, type: A, address: 192.0.2.26, ttlSeconds: 600}
      - {name: mail, type: A, address: 192.0.2.25, ttlSeconds: 600}
      - {name: mail, type: AAAA, address: "2001:db8::25"}
      - {name: _http._tcp, type: SRV, priority: 1, weight: 2, port: 443, target: www}
      - {name: www, type: CNAME, target: img}
      - {name: alias, type: CNAME, target: www}
      - {name: away, type: CNAME, target: www.example.net.}
      - {name: to-apex, type: CNAME, target: "@"}
      - {name: dangling, type: CNAME, target: nothing-here}
      - {name: loop1, type: CNAME, target: loop2}
      - {name: loop2, type: CNAME, target: loop1}
      - {name: into-child, type: CNAME, target: host.child}
      - {name: a.b.deep, type: A, address: 192.0.2.40}
      - {name: "*.wild", type: A, address: 192.0.2.50}
      - {name: "*.wild", type: TXT, text: [by wildcard]}
      - {name: exists.wild, type: TXT, text: [here]}
      - {name: below.ent.wild, type: TXT, text: [here]}
      - {name: "*.wildalias", type: CNAME, target: mail}
      - {name: child, type: NS, target: ns.child}
      - {name: child, type: NS, target: ns1}
      - {name: child, type: NS, target: ns.example.org.}
      - {name: ns.child, type: A, address: 192.0.2.60}
      - {name: ns.child, type: AAAA, address: "2001:db8::60"}
      - {name: hidden.child, type: A, address: 192.0.2.61}
      - {name: img, type: TXT, text: [steered names keep other records]}
  - name: inner.cdn.test
    nameservers: [{name: ns1.cdn.test., addresses: []}]
    records:
      - {name: "@", type: A, address: 192.0.2.70}
`;

const steeredNames = `
steering:
  - {name: img.cdn.test, policy: geo}
  - {name: fixed.cdn.test, policy: fixed, sites: [nyc, fra], ttlSeconds: 5}
  - {name: local.cdn.test, policy: local}
  - {name: weighted.cdn.test, policy: weighted, weights: {fra: 3, nyc: 1, tyo: 0}}
  - {name: any.cdn.test, policy: anycast}
anycast: {addresses: [203.0.113.7, "2001:db8:ffff::7"]}
`;

/** @param parts other YAML for `zones`, `sites` or `steering` */
export function testFleet(parts: { zones?: string; sites?: string; steering?: string } = {}): Fleet {
  const parsed = parseFleet([parts.zones ?? zones, parts.sites ?? sites, parts.steering ?? steeredNames].join("\n"));
  assert.ok(parsed.ok, parsed.ok ? "" : JSON.stringify(parsed.problems));
  return parsed.value;
}

function shared<Numbers extends Uint32Array | Float32Array | Uint16Array>(
  type: { new (buffer: SharedArrayBuffer): Numbers; readonly BYTES_PER_ELEMENT: number },
  values: readonly number[],
): Numbers {
  const numbers = new type(new SharedArrayBuffer(values.length * type.BYTES_PER_ELEMENT));
  numbers.set(values);
  return numbers;
}

const octetRanges: RangeTable = {
  v4Starts: shared(Uint32Array, [0, 0x0100_0000, 0x0200_0000, 0x0300_0000, 0x0400_0000]),
  v4Values: shared(Uint32Array, [0, 1, 2, 3, 0]),
  v6Starts: shared(Uint32Array, [0, 0, 0x0100_0000, 0, 0x0200_0000, 0, 0x0300_0000, 0, 0x0400_0000, 0]),
  v6Values: shared(Uint32Array, [0, 1, 2, 3, 0]),
};

/** Places by the first octet of IPv4 and of IPv6: 1 Frankfurt, 2 New York, 3 Tokyo. */
export const octetGeo: GeoTables = {
  ...emptyGeo,
  description: "by first octet",
  places: octetRanges,
  latitudes: shared(Float32Array, [Number.NaN, 50, 41, 35]),
  longitudes: shared(Float32Array, [Number.NaN, 8, -74, 139]),
  countries: shared(Uint16Array, [0, 0x4445, 0x5553, 0x4a50]),
  cityStarts: shared(Uint32Array, [0, 0, 0, 0, 0]),
};

export interface Bench {
  /** What was counted so far. */
  readonly stats: () => DnsStats;
  readonly respond: Respond;
  readonly steps: () => number;
  readonly snapshot: Snapshot;
  readonly cookies: Cookies;
  /** What the compiler left out of the zones. */
  readonly problems: readonly string[];
  /** The answer's bytes; empty for silence. */
  send: (query: Uint8Array, from?: Partial<Client>) => Uint8Array;
  ask: (asking: Asking, from?: Partial<Client>) => Reading;
}

export interface BenchOptions {
  readonly fleet?: Fleet;
  readonly states?: SiteStates;
  readonly keptShares?: ReadonlyMap<string, number>;
  readonly geo?: GeoTables;
  readonly self?: string;
  readonly identity?: Partial<Identity>;
  /** Default 0: no limit. */
  readonly amplificationMax?: number;
  readonly rateLimit?: RateLimit;
  /** Default: none, and then no server cookies are given. */
  readonly cookieSecrets?: readonly Uint8Array[];
  readonly nowMs?: () => number;
}

const localhost = parseIp("127.0.0.1");

/** A snapshot as the compiler makes it. */
export function snapshotOf(options: BenchOptions = {}): { snapshot: Snapshot; problems: readonly string[] } {
  const fleet = options.fleet ?? testFleet();
  const geo = options.geo ?? emptyGeo;
  const { compiled, problems } = compileZones(fleet, 7);
  const steering = compileSteering({
    fleet,
    self: options.self ?? "fra",
    states: options.states ?? new Map(),
    keptShares: options.keptShares ?? new Map(),
    geo,
  });
  return { snapshot: { version: 7, zones: compiled, steering, geo }, problems };
}

/** A responder over a snapshot, without sockets. A failure inside is a failure of the test. */
export function bench(options: BenchOptions = {}): Bench {
  const counters = newCounters();
  const { snapshot, problems } = snapshotOf(options);
  const cookies = createCookies();
  cookies.setSecrets(options.cookieSecrets ?? []);
  const { respond, steps } = createResponder({
    snapshot: () => snapshot,
    counters,
    cookies,
    rateLimit: options.rateLimit,
    identity: { nsid: undefined, version: undefined, id: undefined, ...options.identity },
    amplificationMax: options.amplificationMax ?? 0,
    random: seededRandom(1),
    nowMs: options.nowMs ?? (() => 1_700_000_000_000),
    onFailure: (error) => {
      throw error;
    },
  });
  const out = new Uint8Array(65_535);
  assert.ok(localhost);
  const client: Client = { address: localhost, port: 40_000, transport: "udp" };
  const send = (query: Uint8Array, from: Partial<Client> = {}): Uint8Array =>
    out.slice(0, respond(query, query.length, { ...client, ...from }, out));
  return {
    stats: () => readStats([counters]),
    respond,
    steps,
    snapshot,
    cookies,
    problems,
    send,
    ask: (asking, from) => readAnswer(send(queryOf(asking), from)),
  };
}

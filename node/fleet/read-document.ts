/**
 * A fleet document's text → a frozen Fleet, or the list of all its problems: of the YAML, of the schema, and what no
 * schema can say (names that must be unique, must exist, or must fit each other).
 *
 * `nearcast check`, the origin and every edge read it through here.
 */
import { isIP } from "node:net";
import { type Document, isScalar, LineCounter, parseDocument, visit } from "yaml";
import { check, type Checked, type ValueProblem } from "#base/schema.ts";
import { canonicalName, type Fleet, fleetSchema, ownerOf, type SteeredName, type Zone } from "./document.ts";

/** A fleet document is text that people write: 1 MiB is some ten thousand records. */
export const fleetBytesMax = 1024 * 1024;
/** What is no YAML is told by its first faults; the rest mostly follows from them. */
const yamlErrorsMax = 20;

/** Reads the YAML text of a fleet document; all its problems at once, or the frozen document. */
export function parseFleet(yamlText: string): Checked<Fleet> {
  if (Buffer.byteLength(yamlText) > fleetBytesMax) {
    return { ok: false, problems: [{ path: "", message: `the document is larger than ${fleetBytesMax} bytes` }] };
  }
  const lineCounter = new LineCounter();
  const at = (offset: number, message: string): ValueProblem => {
    const { line, col } = lineCounter.linePos(offset);
    return { path: "", message: `${message} at line ${line}, column ${col}` };
  };
  try {
    // Neither pretty errors nor the parser's own look for doubled keys: both take time by the square.
    const document = parseDocument(yamlText, { prettyErrors: false, uniqueKeys: false, lineCounter });
    const problems = document.errors.slice(0, yamlErrorsMax).map((error) => at(error.pos[0], error.message));
    if (problems.length === 0) {
      for (const { key, offset } of doubledKeysOf(document)) problems.push(at(offset, `the key ${key} is there twice`));
    }
    return problems.length > 0 ? { ok: false, problems } : checkFleet(document.toJS({ maxAliasCount: 100 }));
  } catch (error) {
    // Aliases that would expand without end, or brackets nested too deep for the stack.
    const message = error instanceof Error ? (error.message.split("\n", 1)[0] ?? "") : String(error);
    return { ok: false, problems: [{ path: "", message }] };
  }
}

/** YAML 1.2 §3.2.1.1: the keys of a mapping are unique. */
function doubledKeysOf(document: Document): { key: string; offset: number }[] {
  const doubled: { key: string; offset: number }[] = [];
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        if (seen.has(key.value)) doubled.push({ key: String(key.value), offset: key.range?.[0] ?? 0 });
        seen.add(key.value);
      }
    },
  });
  return doubled.slice(0, yamlErrorsMax);
}

/** Checks a fleet document that is already a value, such as one read from JSON. */
export function checkFleet(value: unknown): Checked<Fleet> {
  const checked = check(fleetSchema, value);
  if (!checked.ok) return checked;
  const problems = [...contradictionsOf(checked.value)];
  return problems.length === 0 ? checked : { ok: false, problems };
}

/** What a schema can't say: names that must be unique, must exist, or must fit each other. */
function* contradictionsOf(fleet: Fleet): Generator<ValueProblem> {
  yield* twice(
    fleet.zones.map((one) => canonicalName(one.name)),
    (index) => `zones[${index}].name`,
  );
  yield* twice(
    fleet.sites.map((one) => one.name),
    (index) => `sites[${index}].name`,
  );
  yield* twice(
    fleet.hosts.map((one) => canonicalName(one.name)),
    (index) => `hosts[${index}].name`,
  );
  yield* twice(
    fleet.steering.map((one) => canonicalName(one.name)),
    (index) => `steering[${index}].name`,
  );
  const nodes = fleet.sites.flatMap((one, s) =>
    one.nodes.map((node, n) => ({ name: node.name, path: `sites[${s}].nodes[${n}].name` })),
  );
  yield* twice(
    nodes.map((one) => one.name),
    (index) => nodes[index]?.path ?? "",
  );

  const siteNames = new Set(fleet.sites.map((one) => one.name));
  const steeredNames = new Set(fleet.steering.map((one) => canonicalName(one.name)));
  for (const [z, one] of fleet.zones.entries()) yield* contradictionsOfZone(one, steeredNames, `zones[${z}]`);
  for (const [index, steered] of fleet.steering.entries()) {
    yield* contradictionsOfSteering(steered, fleet, siteNames, `steering[${index}]`);
  }
}

function* contradictionsOfSteering(
  steered: SteeredName,
  fleet: Fleet,
  siteNames: ReadonlySet<string>,
  path: string,
): Generator<ValueProblem> {
  const name = canonicalName(steered.name);
  // Of a zone and one inside it, the inner answers for the name (RFC 1034 §4.3.2).
  const home = fleet.zones
    .filter((one) => isInside(name, canonicalName(one.name)))
    .toSorted((a, b) => canonicalName(b.name).length - canonicalName(a.name).length)[0];
  if (home === undefined) yield { path: `${path}.name`, message: `"${steered.name}" lies in none of the zones` };
  else if (
    home.records.some(
      (one) => ownerOf(one.name, canonicalName(home.name)) === name && ["A", "AAAA", "CNAME"].includes(one.type),
    )
  ) {
    yield { path: `${path}.name`, message: `"${steered.name}" also has an A, AAAA or CNAME record in its zone` };
  }
  const named = [
    ...(steered.sites ?? []).map((one, index) => ({ one, at: `${path}.sites[${index}]` })),
    ...Object.keys(steered.weights ?? {}).map((one) => ({ one, at: `${path}.weights.${one}` })),
    ...steered.overrides.map((each, index) => ({ one: each.site, at: `${path}.overrides[${index}].site` })),
  ];
  const allowed = new Set(steered.sites ?? siteNames);
  for (const { one, at } of named) {
    if (!siteNames.has(one)) yield { path: at, message: `"${one}" is not one of the sites` };
    else if (!allowed.has(one)) yield { path: at, message: `"${one}" is not among this name's own sites` };
  }
  if (steered.policy === "anycast" && fleet.anycast.addresses.length === 0) {
    yield { path: `${path}.policy`, message: `"anycast" needs at least one address in anycast.addresses` };
  }
  if (steered.policy === "fixed" && steered.sites === undefined) {
    yield { path: `${path}.sites`, message: `is missing: "fixed" answers the sites that it names` };
  }
  for (const [o, each] of steered.overrides.entries()) {
    if ((each.cidr === undefined) === (each.country === undefined)) {
      yield { path: `${path}.overrides[${o}]`, message: "must have either cidr or country" };
    }
    if (each.cidr !== undefined && !isCidr(each.cidr)) {
      yield {
        path: `${path}.overrides[${o}].cidr`,
        message: `"${each.cidr}" is not an address prefix such as 192.0.2.0/24`,
      };
    }
  }
}

function* contradictionsOfZone(
  zoneOfFleet: Zone,
  steeredNames: ReadonlySet<string>,
  path: string,
): Generator<ValueProblem> {
  const apex = canonicalName(zoneOfFleet.name);
  const aliases = new Set(
    zoneOfFleet.records.filter((one) => one.type === "CNAME").map((one) => ownerOf(one.name, apex)),
  );
  for (const [n, { name, addresses }] of zoneOfFleet.nameservers.entries()) {
    const at = `${path}.nameservers[${n}]`;
    const server = ownerOf(name, apex);
    // RFC 2181 §10.3: the name of a nameserver must not be an alias, and its address must not depend on who asks.
    if (server.length > 253)
      yield { path: `${at}.name`, message: `"${name}", made whole, is longer than 253 characters` };
    if (aliases.has(server)) yield { path: `${at}.name`, message: `"${name}" is a CNAME` };
    if (steeredNames.has(server)) yield { path: `${at}.name`, message: `"${name}" is a steered name` };
    if (addresses.length > 0 && !isInside(server, apex)) {
      yield {
        path: `${at}.addresses`,
        message: `"${name}" lies outside the zone ${apex}: its own zone has its addresses`,
      };
    }
  }
  const ttls = new Map<string, number>();
  const types = new Map<string, Set<string>>();
  for (const [r, one] of zoneOfFleet.records.entries()) {
    const at = `${path}.records[${r}]`;
    const owner = ownerOf(one.name, apex);
    if (!isInside(owner, apex)) yield { path: `${at}.name`, message: `"${one.name}" lies outside the zone ${apex}` };
    const target = "target" in one ? one.target : "exchange" in one ? one.exchange : "@";
    if (target !== "." && ownerOf(target, apex).length > 253) {
      yield { path: at, message: `"${target}", made whole, is longer than 253 characters` };
    }
    if (owner.length > 253) yield { path: `${at}.name`, message: `"${owner}" is longer than 253 characters` };
    if (one.type === "A" && isIP(one.address) !== 4)
      yield { path: `${at}.address`, message: `"${one.address}" is not an IPv4 address` };
    if (one.type === "AAAA" && isIP(one.address) !== 6)
      yield { path: `${at}.address`, message: `"${one.address}" is not an IPv6 address` };
    if (one.type === "TXT") {
      for (const [t, text] of one.text.entries()) {
        if (Buffer.byteLength(text) > 255) yield { path: `${at}.text[${t}]`, message: "has more than 255 octets" };
      }
    }
    // RFC 2181 §5.2: the records of one RRset have one TTL.
    const rrset = `${owner} ${one.type}`;
    const ttl = one.ttlSeconds ?? zoneOfFleet.ttlSeconds;
    const first = ttls.get(rrset);
    if (first !== undefined && first !== ttl)
      yield { path: `${at}.ttlSeconds`, message: `${ttl} differs from the ${first} of an earlier record of ${rrset}` };
    ttls.set(rrset, first ?? ttl);
    const seen = types.get(owner) ?? new Set();
    types.set(owner, seen.add(one.type));
    // RFC 1034 §3.6.2: a CNAME stands alone, and (§3.6.2, RFC 1912 §2.4) never at the apex, where SOA and NS are.
    if (seen.has("CNAME") && (seen.size > 1 || first !== undefined || owner === apex)) {
      yield { path: at, message: `${owner} has a CNAME beside other records` };
    }
  }
}

function isInside(name: string, apex: string): boolean {
  return name === apex || name.endsWith(`.${apex}`);
}

function isCidr(text: string): boolean {
  const [address = "", bits = ""] = text.split("/");
  const family = isIP(address);
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
}

function* twice(names: readonly string[], pathAt: (index: number) => string): Generator<ValueProblem> {
  const seen = new Set<string>();
  for (const [index, name] of names.entries()) {
    if (seen.has(name)) yield { path: pathAt(index), message: `"${name}" is there twice` };
    seen.add(name);
  }
}

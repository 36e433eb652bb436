/** Records as zone files write them: the other direction of what is tested, made for tests only. */
import type { ZoneRecord } from "#record/types.ts";
import { type ZoneFile, type ZoneFileOutcome, readZoneFile } from "#record/zone-file/read-zone-file.ts";

/** SOA and NS, which each zone has to have. */
export const zoneStart = "$TTL 300\n@ SOA ns1 host.ns1 7 3600 600 86400 60\n@ NS ns1\n";

export function read(text: string, zone = "cdn.test"): ZoneFileOutcome {
  return readZoneFile({ file: "x.zone", text, zone });
}

/** @throws Error with all problems */
export function readGood(text: string): ZoneFile {
  const outcome = read(text);
  if (outcome.ok) return outcome.value;
  throw new Error(`${linesOf(outcome).join("\n")}\nin:\n${text}`);
}

/** The problems, as `line:column message`. */
export function linesOf(outcome: ZoneFileOutcome): string[] {
  if (outcome.ok) return [];
  return outcome.problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
}

/** What stands after the zone's SOA and NS. */
export function recordsOf(lines: string): readonly ZoneRecord[] {
  return readGood(zoneStart + lines).records.slice(1);
}

/** A character-string, with all but plain characters as `\DDD`. */
function quoted(text: string): string {
  let inside = "";
  for (const octet of Buffer.from(text)) {
    const isPlain = octet >= 0x20 && octet < 0x7f && octet !== 0x22 && octet !== 0x5c;
    inside += isPlain ? String.fromCharCode(octet) : `\\${String(octet).padStart(3, "0")}`;
  }
  return `"${inside}"`;
}

function listed(values: readonly string[]): string {
  return quoted(values.map((value) => value.replaceAll("\\", "\\\\").replaceAll(",", "\\,")).join(","));
}

function paramsText(params: (ZoneRecord & { type: "HTTPS" })["params"]): string {
  const { mandatory, alpn, noDefaultAlpn, port, ipv4hint, ech, ipv6hint, other } = params;
  return [
    mandatory && `mandatory=${mandatory.join(",")}`,
    alpn && `alpn=${listed(alpn)}`,
    noDefaultAlpn === true ? "no-default-alpn" : undefined,
    port === undefined ? undefined : `port=${port}`,
    ipv4hint && `ipv4hint=${ipv4hint.join(",")}`,
    ech && `ech="${ech}"`,
    ipv6hint && `ipv6hint=${ipv6hint.join(",")}`,
    ...Object.entries(other ?? {}).map(
      ([key, hex]) =>
        `${key}="${hex.replaceAll(/../g, (two) => `\\${String(Number.parseInt(two, 16)).padStart(3, "0")}`)}"`,
    ),
  ]
    .filter((one) => one !== undefined)
    .join(" ");
}

function dataText(record: ZoneRecord): string {
  switch (record.type) {
    case "A":
    case "AAAA":
      return record.address;
    case "NS":
    case "CNAME":
    case "PTR":
    case "DNAME":
    case "ALIAS":
      return record.target;
    case "TXT":
      return record.text.map(quoted).join(" ");
    case "MX":
      return `${record.preference} ${record.exchange}`;
    case "CAA":
      return `${record.flags} ${record.tag} ${quoted(record.value)}`;
    case "SRV":
      return `${record.priority} ${record.weight} ${record.port} ${record.target}`;
    case "HTTPS":
    case "SVCB":
      return `${record.priority} ${record.target} ${paramsText(record.params)}`;
    case "TLSA":
      return `${record.usage} ${record.selector} ${record.matchingType} ${record.data}`;
    case "SSHFP":
      return `${record.algorithm} ${record.fingerprintType} ${record.fingerprint}`;
    case "DS":
      return `${record.keyTag} ${record.algorithm} ${record.digestType} ${record.digest}`;
    case "NAPTR": {
      const { order, preference, flags, services, regexp, replacement } = record;
      return `${order} ${preference} "${flags}" ${quoted(services)} ${quoted(regexp)} ${replacement}`;
    }
    case "RAW":
      return `\\# ${record.data.length / 2} ${record.data}`;
  }
}

export function recordLine(record: ZoneRecord): string {
  const type = record.type === "RAW" ? `TYPE${record.typeNumber}` : record.type;
  return `${record.name} ${record.ttlSeconds ?? ""} IN ${type} ${dataText(record)}`;
}

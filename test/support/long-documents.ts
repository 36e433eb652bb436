/**
 * The longest fleet documents that are allowed: one of a zone file's text, and one of as many YAML values as may be.
 */
import { stringify } from "yaml";

const rest = {
  sites: [
    {
      name: "fra",
      place: { latitude: 50, longitude: 8 },
      addresses: ["192.0.2.1"],
      nodes: [{ name: "fra1", http: "http://192.0.2.1", addresses: ["192.0.2.9"] }],
    },
  ],
  hosts: [{ name: "img.cdn.test", kind: "images" }],
  steering: [{ name: "img.cdn.test", policy: "geo" }],
};

/** Some 4,000,000 characters in one text: 80,000 records; or fewer. */
export function zoneTextDocument(records = 80_000): string {
  const lines = ["$TTL 60", "@ SOA ns1 host 1 3600 600 86400 60", "@ NS ns1", "ns1 A 192.0.2.53"];
  for (let record = 0; record < records; record += 1) {
    lines.push(`host-${record}.region-${record % 100} 300 IN A ${addressOf(record)}`);
  }
  return stringify({ zones: [{ name: "cdn.test", text: `${lines.join("\n")}\n` }], ...rest }, { lineWidth: 0 });
}

/** Some 900,000 characters of YAML: 9,900 records. */
export function recordsDocument(): string {
  const hosts = Array.from({ length: 9_899 }, (_, record) => ({
    name: `host-${record}`,
    type: "A",
    address: addressOf(record),
    ttlSeconds: 300,
  }));
  const records = [...hosts, { name: "also", type: "ALIAS", target: "img" }];
  return stringify({
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }], records }],
    ...rest,
  });
}

function addressOf(record: number): string {
  return `10.${record >> 16}.${(record >> 8) & 255}.${record & 255}`;
}

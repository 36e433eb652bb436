/** The fleet document that `nearcast up` publishes first: a zone, the sites, and an images host with geo steering. */
import { command } from "#base/command-name.ts";
import { stringify } from "yaml";
import { localHost, localZone, type PlannedEdge, ports } from "./process-plan.ts";

export interface PlacedEdge extends PlannedEdge {
  httpPort: number;
}

/** Returns YAML with comments; parseFleet() accepts it. */
export function firstFleet(edges: readonly PlacedEdge[]): string {
  const sections: [comment: string, section: Record<string, unknown>][] = [
    [
      `The fleet document: the settings that all edges share. \`${command} up\` published this one. To replace it:\n` +
        `  ${command} fleet releases              list the versions\n` +
        `  ${command} fleet check my-fleet.yaml\n` +
        `  ${command} fleet apply my-fleet.yaml\n` +
        `  ${command} fleet rollback              restore the previous version`,
      {
        zones: [
          {
            name: localZone,
            nameservers: edges
              .slice(0, 13)
              .map((edge, index) => ({ name: `ns${index + 1}`, addresses: [edge.address] })),
            records: [{ name: "@", type: "TXT", text: ["nearcast on one machine"] }],
          },
        ],
      },
    ],
    [
      "Where the nodes are. DNS sends clients to the nodes of the nearest site.",
      {
        sites: [...Map.groupBy(edges, ({ site }) => site).values()].flatMap(([first, ...more]) =>
          first === undefined ? [] : [siteOf(first, [first, ...more])],
        ),
      },
    ],
    [
      "The hosts that HTTP serves. The first image host also answers requests to a bare IP address.",
      {
        hosts: [{ name: localHost, kind: "images" }],
      },
    ],
    [
      "How DNS chooses an address for a client.",
      {
        steering: [{ name: localHost, policy: "geo", ttlSeconds: 30 }],
      },
    ],
    [
      `Named sets of image parameters: http://${edges[0]?.address ?? ""}:${ports.http}/sample.jpg?preset=card`,
      {
        presets: { card: { w: 480, h: 320, fit: "crop", auto: "format" } },
      },
    ],
  ];
  return sections
    .map(
      ([comment, section]) =>
        `${comment.replaceAll(/^/gm, "# ")}\n${stringify(section, { flowCollectionPadding: true })}`,
    )
    .join("\n");
}

function siteOf({ site, place }: PlacedEdge, edges: readonly PlacedEdge[]): object {
  const { latitude, longitude, city, country } = place;
  return {
    name: site,
    place: { latitude, longitude, city, ...(country === "" ? {} : { country }) },
    nodes: edges.map(({ node, address, httpPort }) => ({
      name: node,
      http: `http://${address}:${httpPort}`,
      peer: { host: address, port: ports.peer },
      addresses: [address],
    })),
  };
}

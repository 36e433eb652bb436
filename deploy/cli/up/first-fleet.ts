/** The fleet document that `nearcast up` publishes first: a zone, the sites, an image host steered by place. */
import { command } from "#base/command-name.ts";
import { stringify } from "yaml";
import { localHost, localZone, type PlannedEdge, ports } from "./plan.ts";

export interface PlacedEdge extends PlannedEdge {
  httpPort: number;
}

/** Returns YAML with its comments, valid by parseFleet(). */
export function firstFleet(edges: readonly PlacedEdge[]): string {
  const sections: [comment: string, section: Record<string, unknown>][] = [
    [
      `The fleet document: what all edges must agree on. \`${command} up\` published this one; yours replaces it:\n` +
        `  ${command} fleet releases              the versions so far\n` +
        `  ${command} fleet check my-fleet.yaml\n` +
        `  ${command} fleet apply my-fleet.yaml\n` +
        `  ${command} fleet rollback              back to the version before`,
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
      "Where nodes stand. DNS gives the addresses of a site's nodes to the clients that are nearest to its place.",
      {
        sites: [...Map.groupBy(edges, ({ site }) => site).values()].flatMap(([first, ...more]) =>
          first === undefined ? [] : [siteOf(first, [first, ...more])],
        ),
      },
    ],
    [
      "What HTTP answers for. The first image host also answers requests to a bare address.",
      {
        hosts: [{ name: localHost, kind: "images" }],
      },
    ],
    [
      "How a name's address is chosen for a client.",
      {
        steering: [{ name: localHost, policy: "geo", ttlSeconds: 30 }],
      },
    ],
    [
      `Image parameters under a name: http://${edges[0]?.address ?? ""}:${ports.http}/sample.jpg?preset=card`,
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

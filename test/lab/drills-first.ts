/** Before any fault: everybody is sent to his nearest site, and gets his picture. With the programs that people use. */
import { until } from "./cdn.ts";
import { anycastHost, picturePath, unicastHost } from "./documents.ts";
import { type Drill, type Measured, measured } from "./drill.ts";
import { type ClientPlan, clients, cloudOf, siteOf } from "./plan.ts";
import { inNamespace, run } from "./processes.ts";
import { allAnnounced } from "./watching.ts";

const warmUpMs = 15_000;

function here(client: string, command: readonly string[]): Promise<string> {
  return run(...inNamespace(client, command));
}

/** `dig` at the anycast addresses from three places: who answers says NSID. */
export const nearestSite: Drill = {
  name: "nearest-site",
  async run(lab) {
    await allAnnounced(lab, ["fra", "nyc", "tyo"]);
    const { address4, address6 } = cloudOf("a");
    const wrong: string[] = [];
    await Promise.all(
      clients.map(async ({ name, nearest }) => {
        // Cloud `a` stands in two of the three sites: from Singapore the way to Frankfurt is the shorter one.
        const wanted = nearest === "tyo" ? "fra" : nearest;
        for (const server of [address4, address6]) {
          const isNear = async (): Promise<boolean> => {
            const said = await here(name, ["dig", "+nsid", "+tries=1", "+time=1", `@${server}`, anycastHost]);
            return siteOf(wanted).nodes.some((node) => said.includes(`("${node.name}")`));
          };
          await until("near", isNear, warmUpMs).catch(() => wrong.push(`${name} at ${server}`));
        }
      }),
    );
    return [right("nearest site answers, by dig from three places, IPv4 and IPv6", "BGP", wrong, 6)];
  },
};

/** `curl` by name: the client's resolver asks the clouds, or the nodes' own addresses, and the site answers. */
export const pictureEverywhere: Drill = {
  name: "picture",
  run: async () => [
    await pictures(anycastHost, "a picture by curl from three places, IPv4 and IPv6", "BGP"),
    await pictures(unicastHost, "a picture by curl from three places, IPv4 and IPv6", "DNS only"),
  ],
};

async function pictures(host: string, title: string, group: Measured["group"]): Promise<Measured> {
  const wrong: string[] = [];
  await Promise.all(
    clients.map(async (client) => {
      for (const family of ["-4", "-6"]) {
        const isRight = async (): Promise<boolean> => await isNearPicture(client, host, family);
        await until("a picture", isRight, warmUpMs).catch(() => wrong.push(`${client.name} ${family}`));
      }
    }),
  );
  return right(title, group, wrong, 2 * clients.length);
}

async function isNearPicture({ name, nearest }: ClientPlan, host: string, family: string): Promise<boolean> {
  const format = "%{http_code} %{content_type} %{remote_ip}";
  const url = `http://${host}${picturePath}`;
  const said = await here(name, ["curl", family, "-sS", "-m", "5", "-o", "/dev/null", "-w", format, url]);
  const [status, type, address] = said.split(" ");
  const isNear = siteOf(nearest).nodes.some((node) => [node.address4, node.address6].includes(address ?? ""));
  return status === "200" && type === "image/webp" && isNear;
}

function right(title: string, group: Measured["group"], wrong: readonly string[], asked: number): Measured {
  const note = wrong.length === 0 ? "" : `not so: ${wrong.join(", ")}`;
  return measured({ title, group, lost: wrong.length, lostMax: 0, asked, note });
}

/** Three sites: clients are sent to the nearest that is up, by DNS alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../support/ask.ts";
import { photograph } from "../support/pictures.ts";
import { startWorld, until } from "../support/world.ts";

const clients = [
  ["133.11.1.0/24", "tyo"],
  ["81.2.69.0/24", "fra"],
  ["8.8.8.0/24", "nyc"],
] as const;

test("three sites", async (t) => {
  const world = await startWorld(t, ["fra", "nyc", "tyo"]);
  const addressOf = (site: "fra" | "nyc" | "tyo"): string => world.edge(site).address;
  await until("every edge sees every site up", async () => {
    const metrics = await Promise.all(world.edges.map((edge) => edge.metrics()));
    return metrics.every((one) =>
      ["fra", "nyc", "tyo"].every((site) => one.get(`nearcast_site_up{site="${site}"}`) === 1),
    );
  });

  for (const [subnet, site] of clients) {
    await t.test(`${subnet} is sent to ${site}, whichever edge is asked`, async () => {
      for (const edge of world.edges) {
        const { addresses } = await ask(edge.dns, "img.cdn.test", { subnet });
        assert.deepEqual(addresses, [addressOf(site)], `asked ${edge.site}`);
      }
    });
  }

  await t.test("each edge serves the same picture", async () => {
    await world.api("PUT", "/images/a.jpg", await photograph(1));
    const etags = await Promise.all(
      world.edges.map(async (edge) => (await fetch(`${edge.url}/a.jpg?w=100&fm=webp`)).headers.get("etag")),
    );
    assert.equal(new Set(etags).size, 1);
  });

  await t.test("a site that is killed is named no more, and again when it is back", async () => {
    const others = [world.edge("fra"), world.edge("nyc")];
    const answersOf = async (): Promise<string[]> =>
      (await Promise.all(others.map((edge) => ask(edge.dns, "img.cdn.test", { subnet: "133.11.1.0/24" })))).flatMap(
        (asked) => asked.addresses,
      );
    await world.edge("tyo").program().kill("SIGKILL");
    await until("no answer names it", async () => !(await answersOf()).includes(addressOf("tyo")));
    assert.equal((await answersOf()).length, 2, "but each answers with another site");
    await world.edge("tyo").start();
    await until("both name it again", async () => (await answersOf()).every((address) => address === addressOf("tyo")));
  });

  await t.test("a site that is stopped in order answers everything until it is gone", async () => {
    const tyo = world.edge("tyo");
    const url = `${tyo.url}/a.jpg?w=100&fm=webp`;
    const stopping = tyo.program().kill("SIGTERM");
    const statuses = new Set<number>();
    await until("it is gone", async () => {
      try {
        statuses.add((await fetch(url)).status);
        return false;
      } catch (error) {
        // Refused: it listens no more. A connection that broke in the midst of an answer would have another reason.
        return ((error as Error).cause as NodeJS.ErrnoException).code === "ECONNREFUSED";
      }
    });
    await stopping;
    assert.deepEqual([...statuses], [200]);
    assert.match(tyo.program().log(), /draining/);
    await tyo.start();
  });

  await t.test("with two sites dead, all clients are sent to the third", async () => {
    await world.edge("nyc").program().kill("SIGKILL");
    await world.edge("tyo").program().kill("SIGKILL");
    await until("only fra is left", async () => {
      const { addresses } = await ask(world.edge("fra").dns, "img.cdn.test", { subnet: "133.11.1.0/24" });
      return addresses.join() === addressOf("fra");
    });
  });
});

test("forced states of the fleet document hold against the probes, and all down is as none down", async (t) => {
  const world = await startWorld(t, ["fra"]);
  const fra = world.edge("fra");
  const document = world.fleet() as { sites: object[] };
  const { default: yaml } = await import("yaml");
  const publish = async (state: string): Promise<void> => {
    const text = yaml.stringify({ ...document, sites: document.sites.map((site) => ({ ...site, state })) });
    await world.api("PUT", "/fleet", Buffer.from(text));
  };
  await publish("down");
  await until("fra is down", async () => (await fra.metrics()).get('nearcast_site_up{site="fra"}') === 0);
  assert.deepEqual((await ask(fra.dns, "img.cdn.test")).addresses, [fra.address]);
  await publish("auto");
  await until("fra is up", async () => (await fra.metrics()).get('nearcast_site_up{site="fra"}') === 1);
});

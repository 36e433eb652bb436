import { deepEqual, equal, throws } from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { systemClock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { silentLog } from "#base/log.ts";
import { type FleetMemory, openFleetMemory } from "#follow/fleet-memory.ts";
import { emptyRoster, type Roster } from "#document/roster.ts";
import { type Membership, openMembership } from "../../../../node/edge/phases/membership.ts";

const documentOf = (nodes: readonly string[]): string =>
  JSON.stringify({
    zones: [{ name: "cdn.test", nameservers: [{ name: "ns1", addresses: ["192.0.2.53"] }] }],
    sites: [
      {
        name: "fra",
        place: { latitude: 50, longitude: 8 },
        nodes: nodes.map((name, index) => ({ name, http: `http://192.0.2.${index + 1}` })),
      },
    ],
    hosts: [{ name: "img.cdn.test", kind: "images" }],
  });

interface World {
  memory: FleetMemory;
  /** What the origin would say. */
  says: { version: number; text: string; roster: Roster };
  open: () => Promise<{ membership: Membership; changes: number[] }>;
}

async function world(t: TestContext): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), "nearcast-membership-"));
  t.after(() => rm(directory, { recursive: true }));
  const memory = await openFleetMemory(directory);
  const says = { version: 1, text: documentOf(["fra1"]), roster: emptyRoster };
  return {
    memory,
    says,
    async open() {
      const changes: number[] = [];
      const membership = await openMembership({
        node: "fra2",
        site: "fra",
        memory,
        origin: { fleet: async () => ({ ...says }), roster: async () => says.roster },
        changed: (fleet) => changes.push(fleet.sites[0]?.nodes.length ?? -1),
        clock: systemClock,
        log: silentLog,
      });
      t.after(membership.close);
      return { membership, changes };
    },
  };
}

const joined: Roster = {
  revision: 3,
  nodes: [{ name: "fra2", site: "fra", http: "http://192.0.2.9", addresses: ["192.0.2.9"] }],
  draining: [],
};

test("document and roster are seen as one fleet, and each change of either is reported", async (t) => {
  const { says, open } = await world(t);
  const { membership, changes } = await open();
  equal(membership.current(), null);
  throws(() => membership.fleet(), NearcastError);
  await membership.takeFleet();
  deepEqual(changes, [1]);
  equal(membership.standing(), "absent");
  says.roster = joined;
  await membership.takeRoster({ revision: 3 });
  deepEqual(changes, [1, 2]);
  deepEqual(
    membership.fleet().sites[0]?.nodes.map(({ name }) => name),
    ["fra1", "fra2"],
  );
  equal(membership.standing(), "listed");
  equal(membership.rosterRevision(), 3);
  says.roster = { ...joined, revision: 4, draining: ["fra2"] };
  await membership.takeRoster({ revision: 4 });
  equal(membership.standing(), "draining");
  says.roster = { revision: 5, nodes: [], draining: [] };
  await membership.takeRoster({ revision: 5 });
  equal(membership.standing(), "removed");
  deepEqual(changes, [1, 2, 2, 1]);
});

test("both are there after a restart without the origin", async (t) => {
  const { says, open } = await world(t);
  const first = await open();
  says.roster = joined;
  await first.membership.takeFleet();
  await first.membership.takeRoster({ revision: 3 });
  const second = await open();
  equal(second.membership.current()?.version, 1);
  equal(second.membership.standing(), "listed");
  deepEqual(second.changes, []);
  says.roster = { revision: 4, nodes: [], draining: [] };
  await second.membership.takeRoster({ revision: 4 });
  equal(second.membership.standing(), "removed", "while it was stopped, or since");
  const third = await open();
  equal(third.membership.standing(), "absent", "by what it keeps it is none, and may never have been");
});

test("a version that is in force already, and a document with problems, change nothing", async (t) => {
  const { says, open } = await world(t);
  const { membership, changes } = await open();
  await membership.takeFleet();
  const before = membership.current();
  await membership.takeFleet();
  says.version = 2;
  says.text = "sites: []";
  await membership.takeFleet();
  equal(membership.current(), before);
  deepEqual(changes, [1]);
});

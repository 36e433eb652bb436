/** The statements of the roster. See catalogue.ts for what each method promises. */
import { NearcastError } from "#base/errors.ts";
import { check } from "#base/schema.ts";
import { type Roster, rosterEventKind, rosterSchema } from "#fleet/roster.ts";
import type { Catalogue, RosterChange } from "./catalogue.ts";
import type { LogTables } from "./sqlite-log.ts";
import type { SqliteSession } from "./sqlite-session.ts";

export function openRosterTables(
  { db, transaction }: SqliteSession,
  log: Pick<LogTables, "append" | "newestFleet">,
): Pick<Catalogue, "roster" | "changeRoster"> & { readonly currentRoster: () => Roster } {
  const selectRevision = db.prepare("SELECT value FROM meta WHERE key = 'roster_revision'");
  const selectNodes = db.prepare("SELECT json FROM roster_nodes ORDER BY name");
  const selectDraining = db.prepare("SELECT name FROM roster_draining ORDER BY name");
  const updateRevision = db.prepare("UPDATE meta SET value = ? WHERE key = 'roster_revision'");
  const insertNode = db.prepare("INSERT INTO roster_nodes (name, json) VALUES (?, ?)");
  const deleteNode = db.prepare("DELETE FROM roster_nodes WHERE name = ?");
  const insertMark = db.prepare("INSERT INTO roster_draining (name) VALUES (?)");
  const deleteMark = db.prepare("DELETE FROM roster_draining WHERE name = ?");

  const read = (): Roster => {
    const checked = check(rosterSchema, {
      revision: Number(selectRevision.get()?.["value"]),
      nodes: selectNodes.all().map((row) => JSON.parse(String(row["json"])) as unknown),
      draining: selectDraining.all().map((row) => row["name"]),
    });
    if (checked.ok) return checked.value;
    const [problem] = checked.problems;
    throw new NearcastError("INTERNAL", `the stored roster is damaged: ${problem?.path}: ${problem?.message}`);
  };
  const write = (change: RosterChange): void => {
    switch (change.kind) {
      case "add":
        insertNode.run(change.node.name, JSON.stringify(change.node));
        deleteMark.run(change.node.name);
        break;
      case "remove":
        deleteNode.run(change.name);
        deleteMark.run(change.name);
        break;
      case "drain":
        insertMark.run(change.name);
        break;
      case "undrain":
        deleteMark.run(change.name);
        break;
    }
  };

  let current = read();
  return {
    roster: async () => current,
    currentRoster: () => current,
    async changeRoster(decide) {
      current = transaction(() => {
        const change = decide(current, log.newestFleet());
        if (change === null) return current;
        write(change);
        const revision = current.revision + 1;
        updateRevision.run(String(revision));
        log.append(rosterEventKind, { revision });
        return read();
      });
      return current;
    },
  };
}

/** SQL for the roster. catalogue.ts documents the methods. */
import { NearcastError } from "#base/errors.ts";
import { check } from "#base/schema.ts";
import { type Roster, rosterEventKind, type RosterNode, rosterSchema } from "#document/roster.ts";
import type { Audited } from "./audit-entry.ts";
import type { Catalogue, RosterChange } from "./catalogue.ts";
import { type Changes, unchanged } from "./sqlite-change.ts";
import type { LogTables } from "./sqlite-log.ts";
import type { SqliteSession } from "./sqlite-session.ts";

export function openRosterTables(
  { db }: SqliteSession,
  change: Changes["change"],
  newestFleet: LogTables["newestFleet"],
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
  const write = (wanted: RosterChange): void => {
    switch (wanted.kind) {
      case "add":
        insertNode.run(wanted.node.name, JSON.stringify(wanted.node));
        deleteMark.run(wanted.node.name);
        break;
      case "remove":
        deleteNode.run(wanted.name);
        deleteMark.run(wanted.name);
        break;
      case "drain":
        insertMark.run(wanted.name);
        break;
      case "undrain":
        deleteMark.run(wanted.name);
        break;
    }
  };

  let current = read();
  return {
    roster: async () => current,
    currentRoster: () => current,
    async changeRoster(actor, decide) {
      current = change(actor, (append) => {
        const wanted = decide(current, newestFleet());
        if (wanted === null) return unchanged(current);
        const audited = auditedRoster(wanted, current);
        write(wanted);
        const revision = current.revision + 1;
        updateRevision.run(String(revision));
        append(rosterEventKind, { revision });
        return { result: read(), audited: { ...audited, facts: { ...audited.facts, revision } } };
      });
      return current;
    },
  };
}

/** @param before the roster that is about to change */
function auditedRoster(wanted: RosterChange, before: Roster): Audited {
  if (wanted.kind === "add") return { kind: "join", targets: [wanted.node.name], facts: nodeFacts(wanted.node) };
  const targets = [wanted.name];
  if (wanted.kind !== "remove") return { kind: wanted.kind, targets, facts: {} };
  const node = before.nodes.find(({ name }) => name === wanted.name);
  return { kind: "remove", targets, facts: node === undefined ? {} : nodeFacts(node) };
}

function nodeFacts({ site, http, peer, addresses }: RosterNode): Audited["facts"] {
  return { site, http, peer: peer === undefined ? undefined : `${peer.host} port ${peer.port}`, addresses };
}

/**
 * The changes from one fleet document to the next, as text; pure.
 *
 *   + site nyc (New York)
 *   + node nyc1 of nyc: 192.0.2.130
 *   ~ site fra: capacity.requestsPerSecond 20000 → 30000
 *   - records www.cdn.test A: 192.0.2.1
 *   ~ answers img.cdn.test: + 192.0.2.130
 *
 * Things are compared by name, unordered lists by entry. `answers` lists the addresses that DNS can give for a steered
 * name or a host (answers.ts): the effect that clients see.
 */
import { isDeepStrictEqual } from "node:util";
import { counted } from "#base/counted.ts";
import { canonicalName, ownerOf } from "#record/domain-names.ts";
import type { Fleet } from "#document/document.ts";
import type { Site } from "#document/schema/sites.ts";
import type { Zone } from "#record/zone.ts";
import type { ZoneRecord } from "#record/types.ts";
import { type Answers, answersOf } from "./dns-answers.ts";

export const changeKinds = ["added", "removed", "changed"] as const;

export interface FleetChange {
  readonly kind: (typeof changeKinds)[number];
  /** The kind of thing: `site`, `node`, `zone`, `nameserver`, `records`, `host`, … */
  readonly what: string;
  readonly name: string;
  /** The difference, or a description of the thing; may be empty. */
  readonly detail: string;
}

/** How many entries of a list, and characters of a value, one line shows. */
const entriesShownMax = 6;
const valueLengthMax = 80;

/**
 * @param before undefined: there is none, or it is no longer readable
 * @param after with the same roster as `before`
 */
export function diffOf(before: Fleet | undefined, after: Fleet): FleetChange[] {
  const old = before ?? { zones: [], sites: [], hosts: [], steering: [], presets: {} };
  const byName = (one: { readonly name: string }): string => canonicalName(one.name);
  const changes = [
    ...compare("zone", old.zones, after.zones, byName, zoneText, zoneDifferences),
    ...changesInZones(old.zones, after.zones),
    ...compare("site", old.sites, after.sites, byName, siteText, siteDifferences),
    ...changesOfNodes(old.sites, after.sites),
    ...compare("host", old.hosts, after.hosts, byName, hostText, differences),
    ...compare("name", old.steering, after.steering, byName, ({ policy }) => `policy ${policy}`, differences),
    ...compare("preset", presetsOf(old.presets), presetsOf(after.presets), byName, presetText, differences),
  ];
  // Every document has all settings, from defaults: they are listed only when there is a document to compare with.
  if (before === undefined) return changes;
  return [
    ...changes,
    ...changesOfAnycast(before, after),
    ...settingChanges("shield", { site: before.shield }, { site: after.shield }),
    ...settingChanges("requests to a bare address", firstImagesHostOf(before), firstImagesHostOf(after)),
    ...settingChanges("limits", before.limits, after.limits),
    ...settingChanges("probe", before.probe, after.probe),
    ...changesOfAnswers(before, after),
  ];
}

/** Whether nothing was removed or changed. */
export function isAdditive(changes: readonly FleetChange[]): boolean {
  return changes.every(({ kind }) => kind === "added");
}

const signs: Readonly<Record<string, string>> = { added: "+", removed: "-" } satisfies {
  [Kind in FleetChange["kind"]]?: string;
};

/** A change as one line. An unknown kind, from another release, shows as a change. */
export function changeText({ kind, what, name, detail }: Record<keyof FleetChange, string>): string {
  const head = [signs[kind] ?? "~", what, name].filter((word) => word !== "").join(" ");
  return detail === "" ? head : `${head}: ${detail}`;
}

/** Compares things of one kind by `keyOf`. A thing in both lists is changed if `differ` finds something. */
function compare<Thing>(
  what: string,
  before: readonly Thing[],
  after: readonly Thing[],
  keyOf: (thing: Thing) => string,
  textOf: (thing: Thing) => string,
  differ: (before: Thing, after: Thing) => string[],
): FleetChange[] {
  const [old, now] = [before, after].map((things) => new Map(things.map((one) => [keyOf(one), one])));
  const changes: FleetChange[] = [];
  for (const [name, thing] of now ?? []) {
    const then = old?.get(name);
    if (then === undefined) changes.push({ kind: "added", what, name, detail: textOf(thing) });
    else if (!isDeepStrictEqual(then, thing)) {
      const detail = differ(then, thing).join("; ");
      if (detail !== "") changes.push({ kind: "changed", what, name, detail });
    }
  }
  for (const [name, thing] of old ?? []) {
    if (now?.has(name) !== true) changes.push({ kind: "removed", what, name, detail: textOf(thing) });
  }
  return changes;
}

/** The differences of two values: `freshSeconds 3600 → 60`, `sites + nyc - tyo`. Lists are compared by entry. */
function differences(before: object, after: object): string[] {
  const [old, now] = [
    new Map<string, unknown>(Object.entries(before)),
    new Map<string, unknown>(Object.entries(after)),
  ];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) => differenceAt(key, old.get(key), now.get(key)));
}

function differenceAt(key: string, before: unknown, after: unknown): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    return [`${key} ${entriesText(before.map(valueText), after.map(valueText))}`];
  }
  if (isObject(before) && isObject(after)) return differences(before, after).map((inner) => `${key}.${inner}`);
  return [`${key} ${valueText(before)} → ${valueText(after)}`];
}

/** Entries that were added and removed: `+ nyc - tyo`. */
function entriesText(before: readonly string[], after: readonly string[]): string {
  const [old, now] = [new Set(before), new Set(after)];
  const marked = [
    ...after.filter((entry) => !old.has(entry)).map((entry) => `+ ${entry}`),
    ...before.filter((entry) => !now.has(entry)).map((entry) => `- ${entry}`),
  ];
  if (marked.length === 0) return "in a different order";
  const more = marked.length - entriesShownMax;
  return marked.slice(0, entriesShownMax).join(" ") + (more > 0 ? ` and ${more} more` : "");
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function without(value: object, keys: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));
}

function valueText(value: unknown): string {
  if (value === undefined) return "none";
  const text = typeof value === "string" && value !== "" ? value : JSON.stringify(value);
  return text.length <= valueLengthMax ? text : `${text.slice(0, valueLengthMax - 1)}…`;
}

function settingChanges(what: string, before: object, after: object): FleetChange[] {
  const detail = differences(before, after).join("; ");
  return detail === "" ? [] : [{ kind: "changed", what, name: "", detail }];
}

function zoneText(zone: Zone): string {
  return counted(recordSetsOf(zone).length, "record set");
}

/** Nameservers and records are listed one by one (changesInZones). */
function zoneDifferences(before: Zone, after: Zone): string[] {
  // The serial of a zone file is ignored: DNS serves the version of the document.
  const settingsOf = (zone: Zone): object => ({
    ...without(zone, ["name", "nameservers", "records", "soa"]),
    ...(zone.soa === undefined ? {} : { soa: without(zone.soa, ["serial"]) }),
  });
  return differences(settingsOf(before), settingsOf(after));
}

interface RecordSet {
  readonly key: string;
  readonly values: readonly string[];
}

function changesInZones(before: readonly Zone[], after: readonly Zone[]): FleetChange[] {
  const old = new Map(before.map((zone) => [canonicalName(zone.name), zone]));
  return after.flatMap((zone) => {
    const then = old.get(canonicalName(zone.name));
    if (then === undefined) return [];
    const changed = (one: RecordSet, other: RecordSet): string[] =>
      one.values.length === 1 && other.values.length === 1
        ? [`${one.values[0]} → ${other.values[0]}`]
        : [entriesText(one.values, other.values)];
    const keyOf = ({ key }: RecordSet): string => key;
    const textOf = ({ values }: RecordSet): string => entriesList(values);
    return [
      ...compare("nameserver", nameserversOf(then), nameserversOf(zone), keyOf, textOf, changed),
      ...compare("records", recordSetsOf(then), recordSetsOf(zone), keyOf, textOf, changed),
    ];
  });
}

function entriesList(entries: readonly string[]): string {
  const more = entries.length - entriesShownMax;
  return entries.slice(0, entriesShownMax).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

function nameserversOf(zone: Zone): RecordSet[] {
  const apex = canonicalName(zone.name);
  return zone.nameservers.map(({ name, addresses }) => ({ key: ownerOf(name, apex), values: [...addresses] }));
}

/** RFC 2181 §5: the records of one name and type are an RRset. Their order does not matter. */
function recordSetsOf(zone: Zone): RecordSet[] {
  const apex = canonicalName(zone.name);
  const sets = Map.groupBy(zone.records, (record) => `${ownerOf(record.name, apex)} ${typeOf(record)}`);
  return [...sets].map(([key, records]) => ({ key, values: records.map((one) => recordText(one, zone)).toSorted() }));
}

function typeOf(record: ZoneRecord): string {
  return record.type === "RAW" ? `TYPE${record.typeNumber}` : record.type;
}

function recordText(record: ZoneRecord, zone: Zone): string {
  const data = without(record, ["name", "type", "ttlSeconds", "typeNumber"]);
  const values = Object.values(data);
  const text = values.every((value) => !isObject(value))
    ? values.map((value) => (Array.isArray(value) ? value.map(valueText).join(" ") : valueText(value))).join(" ")
    : valueText(data);
  const { ttlSeconds = zone.ttlSeconds } = record;
  return ttlSeconds === zone.ttlSeconds ? text : `${text} (TTL ${ttlSeconds} s)`;
}

function siteText({ place, addresses }: Site): string {
  const words = [place.city, ...addresses].filter((word) => word !== undefined);
  return words.join(", ");
}

/** Nodes are listed one by one (changesOfNodes). */
function siteDifferences(before: Site, after: Site): string[] {
  return differences(without(before, ["nodes"]), without(after, ["nodes"]));
}

function changesOfNodes(before: readonly Site[], after: readonly Site[]): FleetChange[] {
  const nodesOf = (sites: readonly Site[]) =>
    sites.flatMap(({ name, nodes }) => nodes.map((node) => ({ site: name, ...node })));
  return compare(
    "node",
    nodesOf(before),
    nodesOf(after),
    ({ name }) => name,
    ({ site, addresses }) => [`site ${site}`, ...addresses].join(", "),
    differences,
  );
}

function hostText(host: Fleet["hosts"][number]): string {
  return host.kind === "assets"
    ? `assets of ${host.origin}`
    : `images${host.sourcePrefix === "" ? "" : ` of ${host.sourcePrefix}`}`;
}

/** This host also answers requests for unknown hosts. */
function firstImagesHostOf({ hosts }: Fleet): object {
  return { host: hosts.find(({ kind }) => kind === "images")?.name };
}

function presetsOf(presets: Fleet["presets"]): { readonly name: string }[] {
  return Object.entries(presets).map(([name, preset]) => ({ name, ...preset }));
}

function presetText(preset: object): string {
  return valueText(without(preset, ["name"]));
}

function changesOfAnycast(before: Fleet, after: Fleet): FleetChange[] {
  return [
    ...settingChanges("anycast", without(before.anycast, ["clouds"]), without(after.anycast, ["clouds"])),
    ...compare(
      "cloud",
      before.anycast.clouds,
      after.anycast.clouds,
      ({ name }) => name,
      ({ prefixes, sites }) => `${prefixes.join(", ")} from ${sites.join(", ")}`,
      differences,
    ),
  ];
}

function changesOfAnswers(before: Fleet, after: Fleet): FleetChange[] {
  const [old, now] = [answersOf(before), answersOf(after)];
  const names = [...before.steering, ...before.hosts].map(({ name }) => canonicalName(name));
  return [...new Set(names)].flatMap((name) => changesOfAnswer(name, old, now));
}

function changesOfAnswer(name: string, before: Answers, after: Answers): FleetChange[] {
  const [old, now] = [before.addressesOf(name), after.addressesOf(name)];
  const gone = [...old].filter((address) => !now.has(address));
  if (gone.length === 0 && old.size === now.size) return [];
  if (after.zoneOf(name) === undefined && before.zoneOf(name) !== undefined)
    return [
      { kind: "removed", what: "answers", name, detail: `it is in no zone any more (was ${entriesList([...old])})` },
    ];
  if (now.size === 0)
    return [{ kind: "removed", what: "answers", name, detail: `no address is left (was ${entriesList(gone)})` }];
  const kind = gone.length === 0 ? "added" : "changed";
  return [{ kind, what: "answers", name, detail: entriesText([...old], [...now]) }];
}

/**
 * Inlines the zone files that a fleet document names, so that a published document is self-contained:
 *
 *   - name: cdn.test                 - name: cdn.test
 *     file: zones/cdn.test    ─▶       text: |
 *                                        $TTL 300
 *                                        …
 *
 * Everything else stays as its author wrote it, including comments, except for white space.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, parseDocument, Scalar, type YAMLMap } from "yaml";
import type { ReadZoneText } from "#record/written-zones.ts";
import { readZoneFile } from "#record/zone-file/read-zone-file.ts";

/**
 * @param yamlText one that parseFleet() takes with the same `readZoneText`
 * @returns the same text where no zone is a file
 * @throws Error when a file changed meanwhile and can't be read any more
 */
export function inlineZoneFiles(yamlText: string, readZoneText: ReadZoneText): string {
  const document = parseDocument(yamlText, { prettyErrors: false, uniqueKeys: false });
  let isChanged = false;
  for (const zone of zonesOf(document)) {
    const file = zone.get("file");
    const name = zone.get("name");
    if (typeof file !== "string" || typeof name !== "string") continue;
    const text = new Scalar(flatTextOf(name, file, readZoneText));
    text.type = "BLOCK_LITERAL";
    for (const pair of zone.items) {
      if (!isScalar(pair.key) || pair.key.value !== "file") continue;
      pair.key.value = "text";
      delete pair.key.source;
      pair.value = text;
    }
    isChanged = true;
  }
  // A line that is folded would be read as the same, but nobody could read it.
  return isChanged ? document.toString({ lineWidth: 0 }) : yamlText;
}

function zonesOf(document: Document): YAMLMap[] {
  const zones: unknown = document.get("zones");
  const list = isAlias(zones) ? zones.resolve(document) : zones;
  if (!isSeq(list)) return [];
  return list.items.map((item) => (isAlias(item) ? item.resolve(document) : item)).filter((item) => isMap(item));
}

function flatTextOf(zone: string, file: string, readZoneText: ReadZoneText): string {
  const found = readZoneText(file, undefined);
  if (!found.ok) throw new Error(`${file} ${found.problem}`);
  const read = readZoneFile({ file: found.file, text: found.text, zone, include: readZoneText });
  if (!read.ok) throw new Error(`${file} has problems now: ${read.problems[0]?.message ?? ""}`);
  return read.value.flatText;
}

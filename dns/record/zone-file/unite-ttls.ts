/** Gives each RRset of a zone file one TTL. */
import { typeNumberOf } from "../types.ts";
import { type Reading, zoneFileBounds } from "./reading-state.ts";

/** RFC 2181 §5.2: the records of an RRset have one TTL. The first record's wins. */
export function uniteTtls(reading: Reading): void {
  const { records, owners, warnings } = reading;
  const common = records[0]?.ttlSeconds;
  // Usually all records have the TTL of $TTL, and there is nothing to do.
  if (records.every((record) => record.ttlSeconds === common)) return;
  const ownerNumbers = new Map<string, number>();
  const firsts = new Map<number, number>();
  for (const [index, record] of records.entries()) {
    const owner = owners[index] ?? "";
    let ownerNumber = ownerNumbers.get(owner);
    if (ownerNumber === undefined) {
      ownerNumber = ownerNumbers.size;
      ownerNumbers.set(owner, ownerNumber);
    }
    const key = ownerNumber * 65_536 + typeNumberOf(record);
    const firstIndex = firsts.get(key);
    if (firstIndex === undefined) {
      firsts.set(key, index);
      continue;
    }
    const ttlSeconds = records[firstIndex]?.ttlSeconds ?? 0;
    if (record.ttlSeconds === ttlSeconds) continue;
    if (warnings.length < zoneFileBounds.problems) {
      const where = `${reading.files[reading.fileOfRecord[firstIndex] ?? 0]}:${reading.lineOfRecord[firstIndex]}`;
      const message =
        `the TTL ${record.ttlSeconds} of ${record.name} ${record.type} is ignored: the first record of this RRset ` +
        `has ${ttlSeconds} (${where})`;
      const file = reading.files[reading.fileOfRecord[index] ?? 0] ?? "";
      warnings.push({ file, line: reading.lineOfRecord[index] ?? 0, column: 0, message });
    }
    records[index] = Object.freeze({ ...record, ttlSeconds });
  }
}

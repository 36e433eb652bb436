/** Adds the records of a $GENERATE entry to the zone. generate-directive.ts has the syntax. */
import { nameFrom, whyNoName } from "../name-text.ts";
import { type Fields, hasFlag, hasMore, newFields, rawField, refuse, takeWord } from "./fields.ts";
import { countOf, expand, rangeFrom, type Template, templateFrom } from "./generate-directive.ts";
import { type File, type Reading, readRecord, takeTtlAndClass, zoneFileBounds } from "./reading-state.ts";
import { fieldFlags, newScanner, scanEntry } from "./scan.ts";
import { isSoa } from "./take-record.ts";
import { quote } from "./words.ts";

/** $GENERATE range lhs [TTL] [class] type rhs */
export function generateRecords(reading: Reading, file: File): void {
  const { fields, scanner } = file;
  const rangeWord = takeWord(fields, "a range");
  const range = rangeFrom(rangeWord);
  if (range === undefined) {
    refuse(
      fields,
      `a range must be start-stop or start-stop/step, 0-2147483647, step above 0 (got ${quote(rangeWord)})`,
    );
    return;
  }
  const owners = takeTemplate(fields, takeWord(fields, "an owner"));
  const ttl = takeTtlAndClass(fields);
  const type = takeWord(fields, "a type");
  const typeField = fields.next - 1;
  if (!hasMore(fields)) refuse(fields, "the data of the records is missing");
  const datas = takeTemplate(fields, restAsWritten(fields));
  if (isSoa(type)) refuse(fields, "$GENERATE can't make a SOA: a zone has only one", typeField);
  if (owners === undefined || datas === undefined || fields.problem !== "") return;
  reading.generated += countOf(range);
  if (reading.generated > zoneFileBounds.generated) {
    refuse(fields, `$GENERATE must not make more than ${zoneFileBounds.generated} records in one zone`, 1);
    reading.isOver = true;
    return;
  }
  for (let number = range.start; number <= range.stop && fields.problem === ""; number += range.step) {
    generateOne(reading, file, number, { owners, datas, ttl, type }, scanner.entryLine);
  }
}

interface Generated {
  readonly owners: Template;
  readonly datas: Template;
  readonly ttl: number;
  readonly type: string;
}

function generateOne(reading: Reading, file: File, number: number, what: Generated, line: number): void {
  const { fields } = file;
  const written = expand(what.owners, number);
  const data = expand(what.datas, number);
  if (written === undefined || data === undefined) {
    refuse(fields, `for ${number}: with its offset the number leaves 0-2147483647`, 1);
    return;
  }
  reading.generatedCharacters += written.length + data.length;
  if (reading.generatedCharacters > zoneFileBounds.generatedCharacters) {
    refuse(fields, `$GENERATE must not make more than ${zoneFileBounds.generatedCharacters} characters in one zone`, 1);
    reading.isOver = true;
    return;
  }
  const owner = nameFrom(written, fields.origin);
  if (owner === undefined) {
    refuse(fields, `for ${number}: ${whyNoName(written)}`, 2);
    return;
  }
  const made = newFields(newScanner(data), fields.origin);
  scanEntry(made.scanner);
  if (made.scanner.problem !== "") refuse(made, made.scanner.problem);
  else readRecord(reading, owner, what.ttl, what.type, made, file.index, line);
  if (made.problem === "" && scanEntry(made.scanner)) refuse(made, "the data must be one line");
  if (made.problem !== "") refuse(fields, `for ${number}: ${made.problem}`, 0);
}

function takeTemplate(fields: Fields, written: string): Template | undefined {
  const parsed = templateFrom(written);
  if (parsed.ok) return parsed.template;
  refuse(fields, parsed.problem);
  return undefined;
}

/** The rest of the entry. As in BIND, quotes around all of it keep its spaces together and are not data. */
function restAsWritten(fields: Fields): string {
  const isOne = fields.next === fields.scanner.fieldsCount - 1;
  if (isOne && hasFlag(fields, fields.next, fieldFlags.quoted)) {
    return rawField(fields, fields.next++).replaceAll('\\"', '"');
  }
  const words: string[] = [];
  while (hasMore(fields)) {
    const word = rawField(fields, fields.next);
    const isGlued = hasFlag(fields, fields.next, fieldFlags.glued);
    const shown = hasFlag(fields, fields.next, fieldFlags.quoted) ? `"${word}"` : word;
    words.push(isGlued ? shown : ` ${shown}`);
    fields.next += 1;
  }
  return words.join("");
}

/**
 * The field list of an HTTP/2 response (RFC 9113 §8.3.2): status first, names in lower case, no connection-specific
 * fields. Pure, except that it remembers the lists of stored blocks.
 */
import { headerPairsOf } from "../cache/object.ts";

/** §8.2.2 */
const connectionFields = new Set(["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade"]);

/** Characters that Node's HTTP/1.1 server also refuses in a field value. */
// oxlint-disable-next-line no-control-regex -- these are what is looked for
const unsendable = /[^\t\u0020-\u007e\u0080-\u00ff]/;

interface Known {
  readonly list: readonly string[];
  readonly hasDate: boolean;
}

/** An object in memory is sent many times. */
const listOfBlock = new WeakMap<Buffer, Known>();
const noBlock: Known = { list: [], hasDate: false };

/**
 * @param fields names and values in turn
 * @param block lines of further fields, in front of them
 * @param date the value of Date for a response without one
 * @returns names and values in turn
 * @throws TypeError for a field that can't be sent
 */
export function responseFields(
  status: number,
  fields: readonly string[],
  block: Buffer | null,
  date: () => string,
): string[] {
  const known = block === null ? noBlock : knownList(block);
  const own = listOf(fields);
  const list = [":status", String(status), ...known.list, ...own.list];
  if (!known.hasDate && !own.hasDate) list.push("date", date());
  return list;
}

function knownList(block: Buffer): Known {
  let known = listOfBlock.get(block);
  if (known === undefined) {
    known = listOf(headerPairsOf(block).flat());
    listOfBlock.set(block, known);
  }
  return known;
}

function listOf(fields: readonly string[]): Known {
  const list: string[] = [];
  let hasDate = false;
  for (let index = 0; index < fields.length; index += 2) {
    const name = (fields[index] ?? "").toLowerCase();
    const value = fields[index + 1] ?? "";
    if (unsendable.test(value)) throw new TypeError("a field has a character that can't be sent");
    if (name === "date") hasDate = true;
    if (!connectionFields.has(name)) list.push(name, value);
  }
  return { list, hasDate };
}

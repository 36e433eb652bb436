/**
 * Finds invalid responses of an origin by their heads alone: responses that must not get into the cache, because
 * clients of the URL want something else. Pure; used for assets.
 */

/** Of a head. Real ones have a few dozen fields, in 1 or 2 KB; each costs time at every hop, and room in the cache. */
const fieldsMax = 256;
const fieldBytesMax = 16 * 1024;

/**
 * What is wrong with a response; undefined: nothing.
 * - A transfer coding other than chunked was not accepted, and is not decoded (RFC 9112 §6.1, §7.4).
 * - A part that was not requested would be taken for the whole (RFC 9110 §15.3.7).
 * - A range that was not requested can't be refused (§15.5.17), and no precondition is ever sent that could fail
 *   (§15.5.13): If-None-Match and If-Modified-Since of a GET lead to a 304.
 * - A client of a GET has no document to reset (§15.3.6).
 * - A head is limited, in fields and in bytes of their names and values.
 */
export function faultOf(
  statusCode: number,
  fields: Readonly<Record<string, string | string[] | undefined>>,
  asked: { readonly isRange: boolean },
): string | undefined {
  if (isTooLarge(fields)) return `a head of more than ${fieldsMax} fields or ${fieldBytesMax} bytes`;
  const codings = [fields["transfer-encoding"] ?? []].flat().join(", ");
  if (codings !== "" && codings.trim().toLowerCase() !== "chunked")
    return `Transfer-Encoding: ${codings.slice(0, 100)}, which was not accepted`;
  if ((statusCode === 206 || statusCode === 416) && !asked.isRange)
    return `status ${statusCode}, although no range was requested`;
  if (statusCode === 412) return "status 412, although no precondition was sent";
  if (statusCode === 205) return "status 205, which is for forms, not for GET";
  return undefined;
}

function isTooLarge(fields: Readonly<Record<string, string | string[] | undefined>>): boolean {
  let count = 0;
  let bytes = 0;
  for (const name in fields) {
    const value = fields[name] ?? [];
    const values = typeof value === "string" ? [value] : value;
    count += values.length;
    for (const one of values) bytes += name.length + one.length;
    if (count > fieldsMax || bytes > fieldBytesMax) return true;
  }
  return false;
}

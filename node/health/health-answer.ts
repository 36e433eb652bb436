/**
 * The JSON body of a probe's response, written by the probed node and read by the probing one.
 *
 *   {"node":"fra1","site":"fra","state":"ready","fleetVersion":7}                     for any client
 *   {…, "word":{"load":12.5,"unreachable":["nyc1"],"watched":"c0ffee…", …}}           for nodes of the fleet
 *                                                                                     (health-proof.ts)
 *
 * The value of `word` is the node's health answer. The reader takes the fields that are within bounds and ignores the
 * rest: nodes of later releases may send more. If the list of unreachable nodes is malformed, `watched` is ignored too,
 * so that the answer counts for and against no other node.
 */
import { parseForeignJson } from "#base/foreign-json.ts";
import { valueFormats } from "#base/schema.ts";
import { loadMax, type HealthAnswer } from "./health.ts";
import { keptLeast } from "./load-shedding.ts";

/** Maximum size of a health answer, in octets. */
export const answerBytesMax = 256 * 1024;
/** Maximum number of names in a list. With names of usual length, such an answer is well below answerBytesMax. */
export const namesMax = 10_000;
/** Maximum number of characters of all unreachable and draining names. Beyond it, the answer omits other nodes. */
const namesCharactersMax = 160 * 1024;
const processesMax = 64;
const urlLengthMax = 255;
/** Eight clouds with four prefixes each. */
const announcedMax = 32;

const namePattern = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/;
const watchedPattern = /^[0-9a-f]{16}$/;
const releasePattern = /^[\x21-\x7e]{1,64}$/;
const prefixPattern = /^[0-9A-Fa-f:.]{2,45}\/[0-9]{1,3}$/;

/** What a node reports about other nodes, as far as it fits in an answer. */
export type View = Pick<HealthAnswer, "unreachable" | "draining" | "watched" | "isIsolated" | "asksProof">;

/** Omits other nodes if their names are too long to send. */
export function boundedView(view: View): View {
  const names = [...(view.unreachable ?? []), ...(view.draining ?? [])];
  const characters = names.reduce((sum, name) => sum + name.length + 3, 0);
  if (names.length <= namesMax && characters <= namesCharactersMax) return view;
  return view.isIsolated === undefined ? {} : { isIsolated: view.isIsolated };
}

/** The body of a probe's response, as far as it could be read. */
export interface HealthBody {
  /** Name of the node that answered. */
  readonly node: unknown;
  readonly state: unknown;
  readonly answer: HealthAnswer | undefined;
}

function isHttpUrl(text: string): boolean {
  return valueFormats["http-url"]?.(text) === true;
}

/** Reads any text. A missing or malformed field is undefined, or left out of the answer. */
export function readHealthBody(text: string): HealthBody {
  let said: unknown;
  try {
    said = parseForeignJson(text);
  } catch {
    // Not JSON: only the status counts.
  }
  const { node, state, word: answer } = fieldsOf(said);
  const isObject = typeof answer === "object" && answer !== null;
  return { node, state, answer: isObject ? readAnswer(fieldsOf(answer)) : undefined };
}

function readAnswer(said: Readonly<Record<string, unknown>>): HealthAnswer {
  const number = (name: keyof HealthAnswer, least: number, most: number): object => {
    const value = said[name];
    return typeof value === "number" && value >= least && value <= most ? { [name]: value } : {};
  };
  const whole = (name: keyof HealthAnswer, most: number, least = 0): object =>
    Number.isSafeInteger(said[name]) ? number(name, least, most) : {};
  const text = (name: keyof HealthAnswer, pattern: RegExp): object => {
    const value = said[name];
    return typeof value === "string" && pattern.test(value) ? { [name]: value } : {};
  };
  const list = (name: keyof HealthAnswer, pattern: RegExp, most: number): object => {
    const value = said[name];
    return isListOf(value, pattern, most) ? { [name]: value } : {};
  };
  const url = (name: keyof HealthAnswer): object => {
    const value = said[name];
    return typeof value === "string" && value.length <= urlLengthMax && isHttpUrl(value) ? { [name]: value } : {};
  };
  const flag = (name: keyof HealthAnswer): object => (typeof said[name] === "boolean" ? { [name]: said[name] } : {});
  const isViewWell = isListOf(said["unreachable"], namePattern, namesMax);
  return {
    ...number("load", 0, loadMax),
    ...number("bytesPerSecond", 0, 1e15),
    ...number("loopDelayMs", 0, 3_600_000),
    ...whole("rendersWaiting", 1_000_000_000),
    ...number("keptShare", keptLeast, 1),
    ...whole("processes", processesMax, 1),
    ...list("unreachable", namePattern, namesMax),
    ...list("draining", namePattern, namesMax),
    ...(isViewWell ? text("watched", watchedPattern) : {}),
    ...flag("isIsolated"),
    ...flag("asksProof"),
    ...whole("fleetVersion", Number.MAX_SAFE_INTEGER),
    ...whole("feedSeq", Number.MAX_SAFE_INTEGER),
    ...text("release", releasePattern),
    ...list("announced", prefixPattern, announcedMax),
    ...url("probe"),
  };
}

function isListOf(value: unknown, pattern: RegExp, most: number): value is string[] {
  return (
    Array.isArray(value) &&
    value.length <= most &&
    value.every((one: unknown) => typeof one === "string" && pattern.test(one))
  );
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}

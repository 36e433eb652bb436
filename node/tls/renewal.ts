/**
 * The renewal of certificates: checks the files once per look, and loads a changed pair without a restart.
 *
 *   look ─ changed since the last look? ─▶ wait one look more ─ still the same ─▶ read, check ─ usable ─▶ taken
 *                                                                                  └ not usable ─▶ the old one stays
 *
 * A pair that is written in pieces changes from look to look. A new certificate does not match an old key, so the pair
 * is checked again when a file changes. Connections keep the certificate that they began with, so nobody notices a
 * renewal.
 *
 * A pair in service stays there while its files are broken or one of them is missing. It ends
 *
 *   - when two looks in a row found neither of its files, unless no other certificate is left
 *   - when one of its files is missing, and a whole pair is there for all of its names
 *
 * The OCSP response does not decide about its pair: if it can't be used, the pair is served without one.
 */
import type { Clock } from "#base/clock.ts";
import type { FailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { type CertificatePlace, dateOf, type ServedCertificate } from "./certificate.ts";
import {
  certificatesMax,
  type CertificateSettings,
  findCertificates,
  keyOf,
  loadCertificate,
  seeFiles,
} from "./certificate-files.ts";
import { type ByKind, type CertificateIndex, indexCertificates } from "./certificate-index.ts";

/** A pair of files, and the certificate that was read from it. */
export interface Entry {
  place: CertificatePlace;
  /** The state of the files that was read last, and the one that was seen last. */
  takenMark: string;
  seenMark: string;
  /** The one in service; null: none could be read yet, or another pair replaced it. */
  certificate: ServedCertificate | null;
  /** Why the files can't be used now. */
  problem: string | null;
  ocspProblem: string | null;
  /** One of the two files is missing. */
  isHalf: boolean;
  /** How many looks in a row found no file of the pair. */
  looksMissing: number;
}

export interface RenewalState {
  readonly settings: CertificateSettings;
  /** Called after each change of the index. */
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly failures: FailureLog;
  /** By keyOf(); an entry keeps its place in the map, so named ones stay first. */
  readonly entries: Map<string, Entry>;
  findProblems: readonly string[];
  index: CertificateIndex;
  looks: number;
  reloads: number;
  failedReloads: number;
}

/** How many are read at once, so that other work gets its turns in between. */
const batch = 16;
/** Between two looks, a file may be away because it is being replaced. */
const looksMissingMax = 2;
/** For the limit on log lines. */
const code = "certificate";

/** Reads a pair for the first time. */
export async function openEntry(place: CertificatePlace): Promise<Entry> {
  const { mark, pairFiles } = await seeFiles(place);
  const read = await loadCertificate(place);
  const entry = { place, takenMark: mark, seenMark: mark, isHalf: pairFiles < 2, looksMissing: 0 };
  return read.outcome === "usable"
    ? { ...entry, certificate: read.certificate, problem: null, ocspProblem: read.ocspProblem }
    : { ...entry, certificate: null, problem: read.problem, ocspProblem: null };
}

/** Looks at all files once; never throws. */
export async function look(state: RenewalState): Promise<void> {
  const { settings, clock, entries, failures } = state;
  let isChanged = clock.wallMs() >= state.index.changesAtMs;
  try {
    const found = await findCertificates(settings);
    state.findProblems = found.problems;
    const keys = new Set(found.places.map(keyOf));
    const absent = [...entries].flatMap(([key, { place }]) => (keys.has(key) ? [] : [place]));
    for (const places of batchesOf([...found.places, ...absent])) {
      const changes = await Promise.all(
        places.map(async (place) => await lookAt(state, place, keys.has(keyOf(place)))),
      );
      isChanged ||= changes.includes(true);
    }
    isChanged = retireReplaced(state) || isChanged;
    isChanged = dropMissing(state) || isChanged;
  } catch (error) {
    for (const entry of entries.values()) entry.looksMissing = 0;
    const problem = `${(error as Error).message}: what was read before stays in use`;
    if (!state.findProblems.includes(problem)) {
      failures.error(code, { problem }, "certificates could not be looked for");
    }
    state.findProblems = [problem];
  }
  if (!isChanged) return;
  const usable = usableOf(state);
  // dropMissing() leaves one; this holds if it ever does not.
  if (usable.length === 0) return;
  state.index = indexCertificates(usable, settings.defaultName, clock.wallMs());
  state.changed();
}

/**
 * Whether another certificate is in use now.
 * @param isFound whether the configuration or the directory has the place now; false: it is an entry's from before
 */
async function lookAt(state: RenewalState, place: CertificatePlace, isFound: boolean): Promise<boolean> {
  const { mark, pairFiles } = await seeFiles(place);
  const known = state.entries.get(keyOf(place));
  if (known === undefined) {
    if (state.entries.size >= certificatesMax) return false;
    // Not read before the next look: it may be being written.
    const none = { certificate: null, problem: null, ocspProblem: null };
    const fresh = { place, takenMark: "", seenMark: mark, ...none, isHalf: pairFiles < 2, looksMissing: 0 };
    state.entries.set(keyOf(place), fresh);
    return false;
  }
  if (!isFound && (pairFiles === 0 || known.certificate === null)) {
    known.looksMissing += 1;
    return false;
  }
  known.place = place;
  known.isHalf = pairFiles < 2;
  known.looksMissing = 0;
  const isAtRest = mark === known.seenMark;
  known.seenMark = mark;
  if (mark === known.takenMark || !isAtRest) return false;
  known.takenMark = mark;
  return await readAgain(state, known);
}

/** Whether another certificate is in use now. */
async function readAgain(state: RenewalState, known: Entry): Promise<boolean> {
  const { failures, log } = state;
  const { place } = known;
  const read = await loadCertificate(place);
  if (read.outcome === "unusable") {
    known.problem = read.problem;
    state.failedReloads += 1;
    const stays = known.certificate === null ? "" : "; the previous one stays in use";
    failures.error(code, { problem: read.problem }, `a changed certificate can't be used${stays}`);
    return false;
  }
  const { certificate, ocspProblem } = read;
  known.problem = null;
  known.ocspProblem = ocspProblem;
  if (ocspProblem !== null) {
    state.failedReloads += 1;
    const message = "a changed OCSP response can't be used; the certificate is served without it";
    failures.warn(code, { problem: ocspProblem }, message);
  }
  if (known.certificate !== null && isSame(certificate, known.certificate)) return false;
  known.certificate = certificate;
  state.reloads += 1;
  const facts = { file: place.certificateFile, names: certificate.names.slice(0, 10) };
  log.info({ ...facts, expires: dateOf(certificate.validToMs) }, "a certificate was read and is in use");
  return true;
}

function isSame(one: ServedCertificate, other: ServedCertificate): boolean {
  const sameOcsp = one.ocsp === null ? other.ocsp === null : other.ocsp !== null && one.ocsp.equals(other.ocsp);
  return sameOcsp && one.chainPem === other.chainPem && one.keyPem === other.keyPem;
}

/** Ends the service of pairs of which a file is missing, if whole pairs serve all their names. */
function retireReplaced({ entries, clock, failures }: RenewalState): boolean {
  const halves = [...entries.values()].filter(
    ({ isHalf, problem, takenMark, seenMark }) => isHalf && problem !== null && takenMark === seenMark,
  );
  if (halves.every(({ certificate }) => certificate === null)) return false;
  const whole = [...entries.values()].filter(({ isHalf, looksMissing }) => !isHalf && looksMissing === 0);
  const nowMs = clock.wallMs();
  const { byName } = indexCertificates(
    whole.flatMap(({ certificate }) => certificate ?? []),
    undefined,
    nowMs,
  );
  let isChanged = false;
  for (const entry of halves) {
    const { certificate } = entry;
    if (certificate === null || certificate.names.length === 0) continue;
    if (!certificate.names.every((name) => isServed(byName.get(name) ?? {}, certificate, nowMs))) continue;
    entry.certificate = null;
    isChanged = true;
    const message = "one file of a certificate is missing, and other certificates have its names: it is not served";
    failures.warn(code, { file: entry.place.certificateFile }, message);
  }
  return isChanged;
}

/** Whether one of these replaces the certificate: valid now, with the same kind of key, or in the same key file. */
function isServed({ ecdsa, rsa }: ByKind, replaced: ServedCertificate, nowMs: number): boolean {
  return [ecdsa, rsa].some(
    (other) =>
      other !== undefined &&
      other.validFromMs <= nowMs &&
      nowMs < other.validToMs &&
      (other.key.kind === replaced.key.kind || other.place.keyFile === replaced.place.keyFile),
  );
}

/** Ends the service of pairs that are gone. If no other certificate is left, they are better than none. */
function dropMissing(state: RenewalState): boolean {
  const { entries, failures } = state;
  const isGone = ({ looksMissing }: Entry): boolean => looksMissing >= looksMissingMax;
  const isOtherLeft = [...entries.values()].some((entry) => !isGone(entry) && entry.certificate !== null);
  let isChanged = false;
  for (const [key, entry] of entries) {
    if (!isGone(entry)) continue;
    const file = entry.place.certificateFile;
    if (entry.certificate === null) {
      entries.delete(key);
    } else if (isOtherLeft) {
      entries.delete(key);
      isChanged = true;
      failures.warn(code, { file }, "a certificate is gone from its directory, and no longer served");
    } else if (entry.looksMissing === looksMissingMax) {
      entry.problem = `${file} and its key are gone: it stays in use until there is another certificate, or a restart`;
      // Read again when it is back, even if it is the same file.
      entry.takenMark = "";
      failures.error(code, { problem: entry.problem }, "the last certificate is gone from its directory");
    }
  }
  return isChanged;
}

/** The certificates in service. */
export function usableOf({ entries }: Pick<RenewalState, "entries">): ServedCertificate[] {
  return [...entries.values()].flatMap(({ certificate }) => (certificate === null ? [] : [certificate]));
}

/** So many places as are read at once. */
export function* batchesOf(places: readonly CertificatePlace[]): Generator<readonly CertificatePlace[]> {
  for (let at = 0; at < places.length; at += batch) yield places.slice(at, at + batch);
}

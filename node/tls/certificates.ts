/**
 * The certificates in use, and their renewal: the files are looked at again and again, and a changed pair is taken
 * without a restart.
 *
 *   look ─ changed since the last look? ─▶ wait one look more ─ still the same ─▶ read, check ─ usable ─▶ taken
 *                                                                                  └ not usable ─▶ the old one stays
 *
 * A pair that is written in pieces changes from look to look. One whose certificate is new and whose key is not does
 * not match, and is looked at again when a file changes. Connections keep what they began with, so nobody notices a
 * renewal.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import type { Log } from "#base/log.ts";
import { type CertificatePlace, datesProblem, dateOf, type ServedCertificate } from "./certificate.ts";
import { type CertificateIndex, certificatesFor, indexCertificates } from "./certificate-index.ts";
import { type CertificateSettings, findCertificates, loadCertificate, marksOf } from "./certificate-files.ts";

export interface Certificates {
  readonly index: () => CertificateIndex;
  readonly all: () => readonly ServedCertificate[];
  /** What is wrong now, in sentences that name the file and what to do. */
  readonly problems: () => readonly string[];
  readonly counts: () => { readonly looks: number; readonly reloads: number; readonly failedReloads: number };
  readonly close: () => void;
}

/** Between two looks; with many certificates, they get so much time each, so that looking costs 2 % of a core. */
const lookMs = 2000;
const lookMsEach = 2;
/** How many are read at once, so that other work gets its turns in between. */
const batch = 16;

interface Entry {
  readonly place: CertificatePlace;
  /** The state of the files that was read last, and the one that was seen last. */
  takenMark: string;
  seenMark: string;
  certificate: ServedCertificate | null;
  problem: string | null;
  isMissing: boolean;
}

interface State {
  readonly settings: CertificateSettings;
  readonly changed: () => void;
  readonly clock: Clock;
  readonly log: Log;
  entries: Map<string, Entry>;
  findProblems: readonly string[];
  index: CertificateIndex;
  looks: number;
  reloads: number;
  failedReloads: number;
}

/**
 * @param changed called after each change of the index
 * @throws NearcastError INTERNAL if no certificate is usable
 */
export async function openCertificates(options: {
  settings: CertificateSettings;
  changed: () => void;
  clock: Clock;
  log: Log;
}): Promise<Certificates> {
  const { settings, clock, log } = options;
  const found = await findCertificates(settings);
  const entries = new Map<string, Entry>();
  for (const places of batchesOf(found.places)) {
    for (const entry of await Promise.all(places.map(open))) entries.set(keyOf(entry.place), entry);
  }
  const usable = [...entries.values()].flatMap(({ certificate }) => (certificate === null ? [] : [certificate]));
  if (usable.length === 0) throw noneUsable(found.problems, entries);
  const index = indexCertificates(usable, settings.defaultName, clock.wallMs());
  const state: State = {
    ...options,
    entries,
    findProblems: found.problems,
    index,
    looks: 0,
    reloads: 0,
    failedReloads: 0,
  };
  for (const problem of problemsOf(state)) log.error({ problem }, "a certificate needs attention");
  let stopLooking = (): void => undefined;
  let isClosed = false;
  const lookAgain = (): void => {
    if (isClosed) return;
    stopLooking = clock.after(Math.max(lookMs, state.entries.size * lookMsEach), () => {
      void look(state).finally(() => {
        state.looks += 1;
        lookAgain();
      });
    });
  };
  lookAgain();
  return {
    index: () => state.index,
    all: () => usableOf(state),
    problems: () => problemsOf(state),
    counts: () => ({ looks: state.looks, reloads: state.reloads, failedReloads: state.failedReloads }),
    close() {
      isClosed = true;
      stopLooking();
    },
  };
}

/**
 * All problems of the configured certificates, for a check before the start; empty: they can be served.
 * @param nowMs the wall clock
 */
export async function checkCertificates(settings: CertificateSettings, nowMs: number): Promise<readonly string[]> {
  let found;
  try {
    found = await findCertificates(settings);
  } catch (error) {
    return [(error as Error).message];
  }
  const problems = [...found.problems];
  const usable: ServedCertificate[] = [];
  for (const places of batchesOf(found.places)) {
    for (const read of await Promise.all(places.map(loadCertificate))) {
      if (read.outcome === "unusable") problems.push(read.problem);
      else usable.push(read.certificate);
    }
  }
  if (found.places.length === 0) problems.push(nothingFound);
  return [...problems, ...judge(usable, settings, nowMs)];
}

/** The names among these hosts that no certificate covers: their clients get the default one, and refuse it. */
export function uncovered(index: CertificateIndex, hosts: readonly string[]): string[] {
  return hosts.filter((name) => certificatesFor(index, name) === undefined);
}

const nothingFound = "no certificate was found: name one in https.certificates, or put one into the directory";

function noneUsable(problems: readonly string[], entries: ReadonlyMap<string, Entry>): NearcastError {
  const all = [...problems, ...[...entries.values()].flatMap(({ problem }) => (problem === null ? [] : [problem]))];
  const told = all.length === 0 ? [nothingFound] : all.slice(0, 5);
  const more = all.length > 5 ? [`and ${all.length - 5} more`] : [];
  return new NearcastError("INTERNAL", ["no certificate can be served:", ...told, ...more].join("\n  "));
}

/** What is wrong with usable certificates: dates, names that two of them have, a default that none of them has. */
function judge(usable: readonly ServedCertificate[], settings: CertificateSettings, nowMs: number): string[] {
  const { defaultName } = settings;
  const dates = usable.flatMap((certificate) => datesProblem(certificate, nowMs) ?? []);
  if (usable.length === 0) return dates;
  const index = indexCertificates(usable, defaultName, nowMs);
  const twice = index.superseded.map(
    ({ name, by, place }) =>
      `${name} is in ${place} and in ${by.place.certificateFile}, both with ${by.key.kind.toUpperCase()} keys: ` +
      `the latter is served, since it is valid for longer; remove the other one`,
  );
  const isMissing = defaultName !== undefined && certificatesFor(index, defaultName) === undefined;
  return [
    ...dates,
    ...twice,
    ...(isMissing ? [`https.defaultName ${defaultName} is in no certificate: use a name of one of them`] : []),
  ];
}

async function open(place: CertificatePlace): Promise<Entry> {
  const mark = await marksOf(place);
  const read = await loadCertificate(place);
  const entry = { place, takenMark: mark, seenMark: mark, isMissing: false };
  return read.outcome === "usable"
    ? { ...entry, certificate: read.certificate, problem: null }
    : { ...entry, certificate: null, problem: read.problem };
}

async function look(state: State): Promise<void> {
  const { settings, log, clock } = state;
  let isChanged = clock.wallMs() >= state.index.changesAtMs;
  try {
    const found = await findCertificates(settings);
    state.findProblems = found.problems;
    const present = new Set<string>();
    for (const places of batchesOf(found.places)) {
      const changes = await Promise.all(places.map(async (place) => await lookAt(state, place)));
      isChanged ||= changes.includes(true);
      for (const place of places) present.add(keyOf(place));
    }
    isChanged = dropMissing(state, present) || isChanged;
  } catch (error) {
    const problem = `${(error as Error).message}: what was read before stays in use`;
    if (!state.findProblems.includes(problem)) log.error({ problem }, "certificates could not be looked for");
    state.findProblems = [problem];
  }
  if (!isChanged) return;
  const usable = usableOf(state);
  // Without any, the previous ones are better than none.
  if (usable.length === 0) return;
  state.index = indexCertificates(usable, settings.defaultName, clock.wallMs());
  state.changed();
}

/** Whether another certificate is in use now. */
async function lookAt(state: State, place: CertificatePlace): Promise<boolean> {
  const mark = await marksOf(place);
  const known = state.entries.get(keyOf(place));
  if (known === undefined) {
    // Not read before the next look: it may be being written.
    const fresh = { place, takenMark: "", seenMark: mark, certificate: null, problem: null, isMissing: false };
    state.entries.set(keyOf(place), fresh);
    return false;
  }
  known.isMissing = false;
  const isAtRest = mark === known.seenMark;
  known.seenMark = mark;
  if (mark === known.takenMark || !isAtRest) return false;
  known.takenMark = mark;
  const read = await loadCertificate(place);
  if (read.outcome === "unusable") {
    known.problem = read.problem;
    state.failedReloads += 1;
    const stays = known.certificate === null ? "" : "; the previous one stays in use";
    state.log.error({ problem: read.problem }, `a changed certificate can't be used${stays}`);
    return false;
  }
  const { certificate } = read;
  known.problem = null;
  if (certificate.fingerprint === known.certificate?.fingerprint && isSame(certificate, known.certificate)) {
    return false;
  }
  known.certificate = certificate;
  state.reloads += 1;
  const facts = { file: place.certificateFile, names: certificate.names.slice(0, 10) };
  state.log.info({ ...facts, expires: dateOf(certificate.validToMs) }, "a certificate was read and is in use");
  return true;
}

function isSame(one: ServedCertificate, other: ServedCertificate): boolean {
  const sameOcsp = one.ocsp === null ? other.ocsp === null : other.ocsp !== null && one.ocsp.equals(other.ocsp);
  return sameOcsp && one.chainPem === other.chainPem && one.keyPem === other.keyPem;
}

/** Drops what two looks did not find: between them, a file may be away because it is being replaced. */
function dropMissing({ entries, log }: State, present: ReadonlySet<string>): boolean {
  let isChanged = false;
  for (const [key, entry] of entries) {
    if (present.has(key)) continue;
    if (!entry.isMissing) {
      entry.isMissing = true;
      continue;
    }
    entries.delete(key);
    isChanged = true;
    log.warn({ file: entry.place.certificateFile }, "a certificate is gone from its directory, and no longer served");
  }
  return isChanged;
}

function usableOf({ entries }: Pick<State, "entries">): ServedCertificate[] {
  // Named ones first: an entry keeps its place in the map.
  return [...entries.values()].flatMap(({ certificate }) => (certificate === null ? [] : [certificate]));
}

function problemsOf(state: State): string[] {
  const { settings, clock } = state;
  const read = [...state.entries.values()].flatMap(({ problem }) => (problem === null ? [] : [problem]));
  return [...state.findProblems, ...read, ...judge(usableOf(state), settings, clock.wallMs())];
}

function keyOf({ certificateFile, keyFile, ocspFile }: CertificatePlace): string {
  return `${certificateFile}\n${keyFile}\n${ocspFile ?? ""}`;
}

function* batchesOf(places: readonly CertificatePlace[]): Generator<readonly CertificatePlace[]> {
  for (let at = 0; at < places.length; at += batch) yield places.slice(at, at + batch);
}

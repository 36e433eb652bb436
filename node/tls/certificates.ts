/**
 * The certificates in use: read at the start, checked for changes (renewal.ts), and judged together.
 *
 * certificate.ts judges a single certificate; this file judges how several fit together.
 */
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { openFailureLog } from "#base/failure-log.ts";
import type { Log } from "#base/log.ts";
import { datesProblem, type ServedCertificate } from "./certificate.ts";
import { type CertificateIndex, certificatesFor, indexCertificates } from "./certificate-index.ts";
import { type CertificateSettings, findCertificates, keyOf, loadCertificate } from "./certificate-files.ts";
import { batchesOf, type Entry, look, openEntry, type RenewalState, usableOf } from "./renewal.ts";

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
    for (const entry of await Promise.all(places.map(openEntry))) entries.set(keyOf(entry.place), entry);
  }
  const usable = usableOf({ entries });
  if (usable.length === 0) throw noneUsable(found.problems, entries);
  const index = indexCertificates(usable, settings.defaultName, clock.wallMs());
  const state: RenewalState = {
    ...options,
    failures: openFailureLog(log, clock),
    entries,
    findProblems: found.problems,
    index,
    looks: 0,
    reloads: 0,
    failedReloads: 0,
  };
  const ofOcsp = new Set(ocspProblemsOf(state));
  for (const problem of problemsOf(state)) {
    if (ofOcsp.has(problem))
      log.warn({ problem }, "an OCSP response can't be used; the certificate is served without it");
    else log.error({ problem }, "a certificate needs attention");
  }
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
      else {
        usable.push(read.certificate);
        if (read.ocspProblem !== null) problems.push(read.ocspProblem);
      }
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

function problemsOf(state: RenewalState): string[] {
  const { settings, clock, entries } = state;
  const read = [...entries.values()].flatMap(({ problem }) => (problem === null ? [] : [problem]));
  return [
    ...state.findProblems,
    ...read,
    ...ocspProblemsOf(state),
    ...judge(usableOf(state), settings, clock.wallMs()),
  ];
}

function ocspProblemsOf({ entries }: RenewalState): string[] {
  return [...entries.values()].flatMap(({ ocspProblem }) => (ocspProblem === null ? [] : [ocspProblem]));
}

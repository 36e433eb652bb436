/**
 * The edge's end of its channel to the origin (node/follow/channel): the edge introduces itself on each connection to
 * the feed, reports every ten seconds that it is still connected, answers questions, and reports what purges found.
 *
 *   opened(nonce) ─▶ introduce ──204──▶ presence every 10 s, answers, reports      until opened(null)
 *                        └── no secret yet, refused, unreachable ─▶ again after 5 s, or when the secret changes
 *
 * Nothing here may hold up the feed or clients: messages that can't be sent are dropped, reports after three tries. An
 * origin whose hello has no nonce runs an earlier release, and gets no messages.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import { check } from "#base/schema.ts";
import {
  type Introduction,
  messageBytesMax,
  type NodeAnswer,
  type NodeQuestion,
  nodeQuestionSchema,
  type Presence,
  presenceIntervalMs,
  type PurgeReport,
  sealedQuestionSchema,
  sentQuestionSchema,
} from "#follow/channel/messages.ts";
import { channelField, type Purpose, type Seals, sealField } from "#follow/channel/seal.ts";

/** As the admin listener answers: a status, and JSON. */
export interface PlainAnswer {
  readonly status: number;
  readonly json: string;
}

export interface OriginChannel {
  /** To be called with each connection's nonce, and with null when it has ended. */
  opened: (nonce: string | null) => void;
  /** Another fleet secret is in use: a proof that failed may succeed now. */
  secretsChanged: () => void;
  /** The data of a question's event. */
  asked: (data: unknown) => void;
  report: (report: PurgeReport) => void;
  close: () => void;
}

const retryMs = 5000;
/** The origin asks fewer at a time; more are refused. */
const answersAtOnceMax = 8;
/** While missed purges are replayed, the reports of the earliest ones are no longer of use to anybody. */
const reportsWaitingMax = 100;
const reportTriesMax = 3;

const pathOf: Readonly<Record<Exclude<Purpose, "question">, string>> = {
  introduction: "introductions",
  presence: "presence",
  answer: "answers",
  "purge-report": "purge-reports",
};

interface Parts {
  readonly introduction: () => Introduction;
  readonly presence: () => Presence;
  /** @param isBrief omit what makes the answer long */
  readonly answer: (question: NodeQuestion, isBrief: boolean) => Promise<PlainAnswer>;
  readonly tell: (path: string, fields: Readonly<Record<string, string>>, json: string) => Promise<number>;
  readonly seals: Seals;
  readonly clock: Clock;
  readonly log: Log;
}

interface WaitingReport {
  readonly report: PurgeReport;
  tries: number;
}

interface State extends Parts {
  readonly failures: FailureLog;
  /** The nonce of the connection; null: there is none. */
  channel: string | null;
  isIntroduced: boolean;
  cancelNext: Cancel | undefined;
  /** The number of questions that are being answered. */
  answering: number;
  /** The status of the last refusal that was logged, until the origin accepts the node again. */
  refusedStatus: number | undefined;
  readonly reports: WaitingReport[];
  isReporting: boolean;
  cancelReports: Cancel | undefined;
}

export function openOriginChannel(parts: Parts): OriginChannel {
  const state: State = {
    ...parts,
    failures: openFailureLog(parts.log, parts.clock),
    channel: null,
    isIntroduced: false,
    cancelNext: undefined,
    answering: 0,
    refusedStatus: undefined,
    reports: [],
    isReporting: false,
    cancelReports: undefined,
  };
  return {
    opened(nonce) {
      follow(state, nonce);
      void speak(state);
    },
    secretsChanged() {
      if (!state.isIntroduced) void speak(state);
    },
    asked(data) {
      void answerOne(state, data);
    },
    report(report) {
      if (state.channel === null) return;
      if (state.reports.push({ report, tries: 0 }) > reportsWaitingMax) state.reports.shift();
      void sendReports(state);
    },
    close() {
      follow(state, null);
    },
  };
}

function follow(state: State, nonce: string | null): void {
  state.cancelNext?.();
  state.cancelReports?.();
  state.channel = nonce;
  state.isIntroduced = false;
}

/** @returns the status; undefined when nothing can be proven yet, or the connection has ended */
async function send(
  { channel, seals, tell }: State,
  purpose: Exclude<Purpose, "question">,
  json: string,
): Promise<number | undefined> {
  const seal = channel === null ? undefined : seals.seal(purpose, channel, json);
  if (channel === null || seal === undefined) return undefined;
  return await tell(pathOf[purpose], { [channelField]: channel, [sealField]: seal }, json);
}

function again(state: State, afterMs: number): void {
  state.cancelNext?.();
  state.cancelNext = state.clock.after(afterMs, () => void speak(state));
}

/** Introduces the node, or reports that it is still connected, and schedules the next message. Never throws. */
async function speak(state: State): Promise<void> {
  const { channel, introduction, presence, log } = state;
  if (channel === null) return;
  state.cancelNext?.();
  const purpose = state.isIntroduced ? "presence" : "introduction";
  let status: number | undefined;
  try {
    status = await send(state, purpose, JSON.stringify(state.isIntroduced ? presence() : introduction()));
  } catch (error) {
    log.debug({ reason: (error as Error).message }, "could not introduce this node to the origin; retrying");
  }
  if (state.channel !== channel) return;
  const isTold = status === 204;
  if (isTold && !state.isIntroduced) {
    state.isIntroduced = true;
    again(state, 0);
    void sendReports(state);
    return;
  }
  if (isTold) heard(state);
  else if (status !== undefined) refused(state, status, purpose);
  again(state, isTold ? presenceIntervalMs : retryMs);
}

/** An origin with another fleet secret refuses every try, one every few seconds: only a change is worth a log line. */
function refused(state: State, status: number, purpose: Purpose): void {
  state.isIntroduced = false;
  if (status !== state.refusedStatus) {
    state.log.warn({ status, purpose }, "the origin refused this node's introduction; retrying");
  }
  state.refusedStatus = status;
}

function heard(state: State): void {
  const { refusedStatus, log } = state;
  if (refusedStatus !== undefined) log.info({ refusedStatus }, "the origin accepted this node's introduction again");
  state.refusedStatus = undefined;
}

/** A report that fails holds up no other, and is retried. When the connection ends, the rest waits for the next one. */
async function sendReports(state: State): Promise<void> {
  const { reports, clock } = state;
  if (state.isReporting) return;
  state.isReporting = true;
  state.cancelReports?.();
  const failed: WaitingReport[] = [];
  const take = (): WaitingReport | undefined => (state.isIntroduced ? reports.shift() : undefined);
  for (let next = take(); next !== undefined; next = take()) {
    next.tries += 1;
    if (!(await isReported(state, next)) && next.tries < reportTriesMax) failed.push(next);
  }
  state.isReporting = false;
  reports.unshift(...failed);
  if (failed.length > 0 && state.isIntroduced)
    state.cancelReports = clock.after(retryMs, () => void sendReports(state));
}

/** Never throws. */
async function isReported(state: State, { report, tries }: WaitingReport): Promise<boolean> {
  let reason: string;
  try {
    const status = await send(state, "purge-report", JSON.stringify(report));
    if (status === 204) return true;
    reason = status === undefined ? "the connection has ended" : `status ${status}`;
  } catch (error) {
    reason = (error as Error).message;
  }
  const facts = { seq: report.seq, reason, tries, triesMax: reportTriesMax };
  state.failures.warn("PURGE_REPORT", facts, "could not report a purge to the origin; the purge itself is in force");
  return false;
}

/** Never throws. */
async function answerOne(state: State, data: unknown): Promise<void> {
  state.answering += 1;
  try {
    await tryToAnswer(state, data);
  } catch (error) {
    state.log.warn({ reason: (error as Error).message }, "could not answer a question of the origin");
  } finally {
    state.answering -= 1;
  }
}

async function tryToAnswer(state: State, data: unknown): Promise<void> {
  const { channel, seals, log } = state;
  const sealed = check(sealedQuestionSchema, data);
  if (channel === null || !sealed.ok || !seals.isSealed("question", channel, sealed.value.body, sealed.value.seal)) {
    log.warn({}, "ignored a question from the feed that has no valid proof");
    return;
  }
  const sent = check(sentQuestionSchema, parseForeignJson(sealed.value.body));
  if (!sent.ok) return;
  const { id, question } = sent.value;
  const bytesMax = Math.min(sent.value.bytesMax, messageBytesMax.answer);
  await send(state, "answer", JSON.stringify(await answerTo(state, id, question, bytesMax)));
}

async function answerTo(
  { answering, answer }: State,
  id: string,
  question: unknown,
  bytesMax: number,
): Promise<NodeAnswer> {
  const known = check(nodeQuestionSchema, question);
  if (!known.ok) return { id, outcome: "refused", reason: "this node's release does not know the question" };
  if (answering > answersAtOnceMax) return { id, outcome: "refused", reason: "too many questions at once" };
  let sizeBytes = 0;
  for (const isBrief of [false, true]) {
    const { status, json } = await answer(known.value, isBrief);
    const full: NodeAnswer = { id, outcome: "answered", status, body: JSON.parse(json) as unknown };
    sizeBytes = Buffer.byteLength(JSON.stringify(full));
    if (sizeBytes <= bytesMax) return full;
  }
  return { id, outcome: "too-large", sizeBytes };
}

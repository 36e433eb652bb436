/**
 * The edge's end of its channel to the origin (node/follow/channel): it introduces itself on each connection to the
 * feed, says every ten seconds that it is there, answers questions, and reports what purges found.
 *
 *   opened(nonce) ─▶ introduce ──204──▶ presence every 10 s, answers, reports      until opened(null)
 *                        └── no secret yet, refused, unreachable ─▶ again after 5 s, or when the secret changes
 *
 * Nothing here may hold up the feed or the serving of clients: what can't be told is dropped, a report after three
 * tries. An origin whose hello has no nonce is of a release before this one, and is told nothing.
 */
import type { Cancel, Clock } from "#base/clock.ts";
import { openFailureLog } from "#base/failure-log.ts";
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
  /** Another fleet secret is in use: what could not be proven may be now. */
  secretsChanged: () => void;
  /** The data of a question's event. */
  asked: (data: unknown) => void;
  report: (report: PurgeReport) => void;
  close: () => void;
}

const retryMs = 5000;
/** The origin asks fewer at one time; more are refused. */
const answersAtOnceMax = 8;
/** While missed purges are replayed, the reports of the first are of no use to anybody any more. */
const reportsWaitingMax = 100;
const reportTriesMax = 3;

const pathOf: Readonly<Record<Exclude<Purpose, "question">, string>> = {
  introduction: "introductions",
  presence: "presence",
  answer: "answers",
  "purge-report": "purge-reports",
};

export function openOriginChannel(parts: {
  introduction: () => Introduction;
  presence: () => Presence;
  /** @param isBrief leave out what makes the answer long */
  answer: (question: NodeQuestion, isBrief: boolean) => Promise<PlainAnswer>;
  tell: (path: string, fields: Readonly<Record<string, string>>, json: string) => Promise<number>;
  seals: Seals;
  clock: Clock;
  log: Log;
}): OriginChannel {
  const { introduction, presence, answer, tell, seals, clock, log } = parts;
  let channel: string | null = null;
  let isIntroduced = false;
  let cancelNext: Cancel | undefined;
  let answering = 0;
  /** The status of the last refusal that was logged, until the node is heard again. */
  let refusedStatus: number | undefined;
  const reports: { readonly report: PurgeReport; tries: number }[] = [];
  let isReporting = false;
  let cancelReports: Cancel | undefined;
  const failures = openFailureLog(log, clock);

  /** @returns the status; undefined when nothing can be proven yet, or the connection has ended */
  async function send(purpose: Exclude<Purpose, "question">, json: string): Promise<number | undefined> {
    const over = channel;
    const seal = over === null ? undefined : seals.seal(purpose, over, json);
    if (over === null || seal === undefined) return undefined;
    return await tell(pathOf[purpose], { [channelField]: over, [sealField]: seal }, json);
  }

  function again(afterMs: number): void {
    cancelNext?.();
    cancelNext = clock.after(afterMs, () => void speak());
  }

  /** Introduces the node, or says that it is there; and does so again later. Never throws. */
  async function speak(): Promise<void> {
    const over = channel;
    if (over === null) return;
    cancelNext?.();
    const purpose = isIntroduced ? "presence" : "introduction";
    let status: number | undefined;
    try {
      status = await send(purpose, JSON.stringify(isIntroduced ? presence() : introduction()));
    } catch (error) {
      log.debug({ reason: (error as Error).message }, "could not introduce this node to the origin; retrying");
    }
    if (channel !== over) return;
    const isTold = status === 204;
    if (isTold && !isIntroduced) {
      isIntroduced = true;
      again(0);
      void sendReports();
      return;
    }
    if (isTold) heard();
    else if (status !== undefined) refused(status, purpose);
    again(isTold ? presenceIntervalMs : retryMs);
  }

  /** An origin with another fleet secret refuses every try, one each few seconds: only a change is worth a line. */
  function refused(status: number, purpose: Purpose): void {
    isIntroduced = false;
    if (status !== refusedStatus) {
      log.warn({ status, purpose }, "the origin refused this node's introduction; retrying");
    }
    refusedStatus = status;
  }

  function heard(): void {
    if (refusedStatus !== undefined) log.info({ refusedStatus }, "the origin accepted this node's introduction again");
    refusedStatus = undefined;
  }

  /** One that fails holds up no other, and is tried again. When the connection ends, the rest waits for the next. */
  async function sendReports(): Promise<void> {
    if (isReporting) return;
    isReporting = true;
    cancelReports?.();
    const failed: typeof reports = [];
    const take = (): (typeof reports)[number] | undefined => (isIntroduced ? reports.shift() : undefined);
    for (let next = take(); next !== undefined; next = take()) {
      if (!(await isReported(next.report, (next.tries += 1))) && next.tries < reportTriesMax) failed.push(next);
    }
    isReporting = false;
    reports.unshift(...failed);
    if (failed.length > 0 && isIntroduced) cancelReports = clock.after(retryMs, () => void sendReports());
  }

  /** Never throws. */
  async function isReported(report: PurgeReport, tries: number): Promise<boolean> {
    let reason: string;
    try {
      const status = await send("purge-report", JSON.stringify(report));
      if (status === 204) return true;
      reason = status === undefined ? "the connection has ended" : `status ${status}`;
    } catch (error) {
      reason = (error as Error).message;
    }
    const facts = { seq: report.seq, reason, tries, triesMax: reportTriesMax };
    failures.warn("PURGE_REPORT", facts, "could not report a purge to the origin; the purge itself is in force");
    return false;
  }

  async function answerOne(data: unknown): Promise<void> {
    const over = channel;
    const sealed = check(sealedQuestionSchema, data);
    if (over === null || !sealed.ok || !seals.isSealed("question", over, sealed.value.body, sealed.value.seal)) {
      log.warn({}, "ignored a question from the feed that has no valid proof");
      return;
    }
    const sent = check(sentQuestionSchema, parseForeignJson(sealed.value.body));
    if (!sent.ok) return;
    const { id, question } = sent.value;
    const bytesMax = Math.min(sent.value.bytesMax, messageBytesMax.answer);
    await send("answer", JSON.stringify(await answerTo(id, question, bytesMax)));
  }

  async function answerTo(id: string, question: unknown, bytesMax: number): Promise<NodeAnswer> {
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

  return {
    opened(nonce) {
      cancelNext?.();
      cancelReports?.();
      channel = nonce;
      isIntroduced = false;
      void speak();
    },
    secretsChanged() {
      if (!isIntroduced) void speak();
    },
    asked(data) {
      answering += 1;
      answerOne(data)
        .catch((error: unknown) => {
          log.warn({ reason: (error as Error).message }, "could not answer a question of the origin");
        })
        .finally(() => {
          answering -= 1;
        });
    },
    report(report) {
      if (channel === null) return;
      if (reports.push({ report, tries: 0 }) > reportsWaitingMax) reports.shift();
      void sendReports();
    },
    close() {
      channel = null;
      isIntroduced = false;
      cancelNext?.();
      cancelReports?.();
    },
  };
}

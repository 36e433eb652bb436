/**
 * Requests to other nodes, and their requests to this one: what images and assets have in common.
 *
 *   ask ──▶ first member ──response──────────▶ the response, and where it may be stored
 *              │  ├──a failure for all nodes─▶ thrown, so that not every node asks the origin once more
 *              │  └──unreachable, busy, behind, gone from the directory ──▶ next member, then null: do it here
 *
 * Purges and peers. With each request, a node says up to which event of the feed it has begun to apply purges. The
 * other node answers only once these are in force there, too: it waits a moment for them, or says that it is behind. So
 * no response is older than a purge that the asking node knows. Later purges apply to it as well: the response names
 * the event that was in force when its bytes were requested, and a response that a purge overtook is not stored at all.
 */
import { LRUCache } from "lru-cache";
import type { Dispatcher } from "undici";
import { type Cancel, type Clock, sleep } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { type FailureLog, openFailureLog } from "#base/failure-log.ts";
import { parseForeignJson } from "#base/foreign-json.ts";
import type { Log } from "#base/log.ts";
import type { FeedPosition } from "#follow/feed.ts";
import { dropBody, readBody } from "../fetch/body.ts";
import { fieldOf } from "../fetch/asset.ts";
import type { PeerClient, PeerResponse } from "../peer/client.ts";
import type { Member, PeerDirectory } from "../peer/directory.ts";
import {
  fieldNames,
  readSharedFailure,
  readTold,
  type Refusal,
  refusals,
  type Role,
  type Told,
  writeLog,
} from "./wire.ts";

export interface Question<Result> {
  role: Role;
  /** Whom to ask, best first; evaluated before each try. */
  members: () => readonly Member[];
  triesMax: number;
  path: string;
  headers: Readonly<Record<string, string>>;
  /** Of the client that it is for. */
  network: string;
  /** For all tries together, bodies included. */
  timeoutMs: number;
  /** Aborted when nobody waits for the answer any more: the question is dropped, and nobody else is asked. */
  signal?: AbortSignal;
  /** Takes over the answer, including its body. If it throws, the next member is asked. */
  read: (answer: PeerResponse, told: Told) => Promise<Result>;
}

export interface PeerAnswer<Result> {
  result: Result;
  member: Member;
  told: Told;
  /**
   * The event of our own log that these bytes are valid for; null: they belong to another log, and must not be kept.
   */
  feedSeq: number | null;
}

export interface Peers {
  directory: PeerDirectory;
  /**
   * Null: nobody answered.
   * @throws NearcastError a failure that would be the same here, such as the origin's
   */
  ask: <Result>(question: Question<Result>) => Promise<PeerAnswer<Result> | null>;
  /**
   * A purge is in force in memory here: from now on, answers must date from after it. 0: everything is dropped, as for
   * a new log.
   */
  purged: (seq: number) => void;
  /** Whether new renderings for peers are to be refused. */
  isBusy: () => boolean;
  /** Resolves when the purges that the asker knows are in force here too; false: that will take too long. */
  caughtUp: (log: FeedPosition | null) => Promise<boolean>;
  /** This node's position, and in which log, for its answers. */
  position: () => FeedPosition | null;
  /** Notes that a variant was sent to clients, once by default; counts what many request. */
  served: (key: string, times?: number) => void;
  /** Increments a count; ask() counts what it sees by itself. */
  count: (what: "replicated" | "left" | Refusal) => void;
  counts: () => PeerCounts;
}

export interface PeerCounts {
  /** Answers that owners, members elsewhere and shields gave to this node. */
  relayed: number;
  spilled: number;
  shielded: number;
  /** Questions to a member that brought no answer. */
  failed: number;
  /** Of these: what the member sent was not what it was asked for. */
  unfit: number;
  /** Questions of members that were refused here. */
  busy: number;
  behind: number;
  /** Questions of members that left before the answer began. */
  left: number;
  /** Questions of members that are waiting for purges now. */
  waiting: number;
  /** Variants fetched because a member said that they are hot. */
  replicated: number;
}

/** How often the directory is checked while a response is awaited. */
const watchMs = 250;
/** How long a question waits for purges that its asker knows, how often it checks, and how many may wait. */
const behindMsMax = 1000;
const behindLookMs = 20;
const behindWaitingMax = 1000;
/**
 * A member whose failed try took this share of a question's time is not asked for a while, even if it answers other
 * requests meanwhile: each request that waits for it keeps a client waiting. (A member that got only the time that a
 * slow member left over had no fair chance.) The names of such members are remembered: far more than a site has.
 */
const overdueShare = 0.5;
const overdueMs = 30_000;
const overdueMax = 512;
/** The body of a problem; ours have about 300 bytes. */
const problemBytesMax = 16_384;
const detailLengthMax = 500;

const countOf = { owner: "relayed", spill: "spilled", shield: "shielded" } as const satisfies Record<Role, string>;

interface Parts {
  readonly directory: PeerDirectory;
  readonly client: Pick<PeerClient, "request">;
  readonly isBusy: () => boolean;
  /** The position in the feed; null before the first contact and while everything is being dropped. */
  readonly position: () => FeedPosition | null;
  /** A promise while missed events are replayed, else null. */
  readonly gate: () => Promise<void> | null;
  /** Counts the keys of variants that clients got (peer/hot-keys). */
  readonly served: (key: string, times?: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

interface State extends Parts {
  readonly counts: PeerCounts;
  readonly failures: FailureLog;
  /** Members that are not asked for a while, and until when. */
  readonly overdueUntilMs: LRUCache<string, number>;
  purgedSeq: number;
}

export function joinPeers(parts: Parts): Peers {
  const { directory, isBusy, position, served, clock, log } = parts;
  const state: State = {
    ...parts,
    counts: {
      relayed: 0,
      spilled: 0,
      shielded: 0,
      failed: 0,
      unfit: 0,
      busy: 0,
      behind: 0,
      left: 0,
      waiting: 0,
      replicated: 0,
    },
    failures: openFailureLog(log, clock),
    overdueUntilMs: new LRUCache({ max: overdueMax }),
    purgedSeq: 0,
  };
  return {
    directory,
    ask: (question) => ask(state, question),
    purged(seq) {
      state.purgedSeq = seq === 0 ? 0 : Math.max(state.purgedSeq, seq);
    },
    isBusy,
    caughtUp: (theirs) => caughtUp(state, theirs),
    position,
    served,
    count(what) {
      state.counts[what] += 1;
    },
    counts: () => ({ ...state.counts }),
  };
}

async function ask<Result>(state: State, question: Question<Result>): Promise<PeerAnswer<Result> | null> {
  const { clock, counts } = state;
  const asked = new Set<string>();
  const deadlineMs = clock.monotonicMs() + question.timeoutMs;
  for (let tries = 0; tries < question.triesMax; tries += 1) {
    const member = question.members().find((one) => !asked.has(one.name) && !isOverdue(state, one));
    const begunMs = clock.monotonicMs();
    const leftMs = deadlineMs - begunMs;
    if (member === undefined || leftMs <= 0) return null;
    asked.add(member.name);
    try {
      const answer = await askOne(state, question, member, leftMs);
      counts[countOf[question.role]] += 1;
      return answer;
    } catch (error) {
      if (question.signal?.aborted) throw question.signal.reason as Error;
      if (error instanceof SharedFailure) {
        counts[countOf[question.role]] += 1;
        throw error.failure;
      }
      noteFailure(state, question, member, error as Error, clock.monotonicMs() - begunMs);
    }
  }
  return null;
}

async function askOne<Result>(
  state: State,
  question: Question<Result>,
  member: Member,
  timeoutMs: number,
): Promise<PeerAnswer<Result>> {
  const { client, clock, directory, position } = state;
  const begunMs = clock.monotonicMs();
  const before = position();
  // The position advances when a purge is in force on disk too; in memory it was in force earlier.
  const knownSeq = Math.max(before?.seq ?? 0, state.purgedSeq);
  const gone = new AbortController();
  const cancel = clock.every(watchMs, () => {
    if (!directory.isMember(member)) gone.abort(new Error(`${member.name} is gone`));
  });
  const giveUp = (): void => {
    gone.abort(question.signal?.reason);
  };
  if (question.signal?.aborted) giveUp();
  else question.signal?.addEventListener("abort", giveUp, { once: true });
  let cancelLate: Cancel | undefined;
  let unlink: (() => void) | undefined;
  try {
    const answer = await client.request(member, {
      method: "GET",
      path: question.path,
      headers: {
        ...question.headers,
        [fieldNames.role]: question.role,
        ...(before === null ? {} : { [fieldNames.log]: writeLog({ ...before, seq: knownSeq }) }),
      },
      timeoutMs,
      network: question.network,
      signal: gone.signal,
    });
    cancelLate = clock.after(Math.max(0, begunMs + timeoutMs - clock.monotonicMs()), () => {
      answer.body.destroy(new Error(`the answer was not complete within ${timeoutMs} ms`));
    });
    // The signal of the question ends the request until the head has arrived; from then on, this does.
    const drop = (): void => {
      answer.body.destroy(gone.signal.reason as Error);
    };
    gone.signal.addEventListener("abort", drop, { once: true });
    unlink = () => {
      gone.signal.removeEventListener("abort", drop);
    };
    const told = await readAnswer(answer);
    const result = await question.read(answer, told);
    const isOneLog =
      before !== null && told.log?.originId === before.originId && position()?.originId === before.originId;
    const feedSeq = isOneLog && told.log !== null ? Math.min(knownSeq, told.log.seq) : null;
    return { result, member, told, feedSeq };
  } finally {
    cancel();
    question.signal?.removeEventListener("abort", giveUp);
    cancelLate?.();
    unlink?.();
  }
}

/** A try brought no answer: the next member is asked, or the work is done here. */
function noteFailure(
  { counts, clock, failures, overdueUntilMs, log }: State,
  question: Pick<Question<unknown>, "role" | "timeoutMs">,
  { name }: Member,
  error: Error,
  tookMs: number,
): void {
  counts.failed += 1;
  const facts = { member: name, role: question.role, reason: error.message };
  if (tookMs >= overdueShare * question.timeoutMs) {
    overdueUntilMs.set(name, clock.monotonicMs() + overdueMs);
    const message = "a peer used up most of a request's time without answering; other nodes are asked for a while";
    failures.warn("OVERDUE", { ...facts, tookMs: Math.round(tookMs), overdueMs }, message);
  }
  if (error instanceof UnfitAnswer) {
    counts.unfit += 1;
    const message = "a peer sent an unusable answer; the next one is asked, or the work is done here";
    failures.warn("UNFIT_ANSWER", facts, message);
  } else log.debug(facts, "a peer did not answer");
}

function isOverdue({ clock, overdueUntilMs }: State, { name }: Member): boolean {
  return clock.monotonicMs() < (overdueUntilMs.get(name) ?? 0);
}

async function caughtUp({ clock, position, gate, counts }: State, theirs: FeedPosition | null): Promise<boolean> {
  const deadlineMs = clock.monotonicMs() + behindMsMax;
  for (;;) {
    const ours = position();
    const isSame = theirs === null || (ours !== null && ours.originId === theirs.originId);
    if (gate() === null && isSame && (theirs === null || (ours?.seq ?? 0) >= theirs.seq)) return true;
    // Another log: whichever of the two nodes is wrong will drop its cache. There is nothing to wait for.
    if (!isSame || clock.monotonicMs() >= deadlineMs || counts.waiting >= behindWaitingMax) return false;
    counts.waiting += 1;
    try {
      await sleep(clock, behindLookMs);
    } finally {
      counts.waiting -= 1;
    }
  }
}

/** What a member sent is not what was requested. It may be broken, or compromised. */
export class UnfitAnswer extends Error {}

/** A failure that is not the member's own: asking others would give the same result. */
class SharedFailure extends Error {
  readonly failure: NearcastError;
  constructor(failure: NearcastError) {
    super(failure.message);
    this.failure = failure;
  }
}

/** What an answer says about itself. @throws SharedFailure, or Error if it is unusable */
async function readAnswer(answer: Dispatcher.ResponseData): Promise<Told> {
  const refusal = refusals.find((one) => one === fieldOf(answer.headers, fieldNames.refused));
  if (refusal !== undefined) {
    dropBody(answer);
    throw new Error(`refused: ${refusal}`);
  }
  const code = readSharedFailure(answer.headers);
  if (code !== undefined) throw new SharedFailure(new NearcastError(code, await detailOf(answer)));
  const told = readTold(answer.headers);
  if (told !== undefined) return told;
  dropBody(answer);
  throw new Error(`status ${answer.statusCode} without the fields of a nearcast response`);
}

async function detailOf(answer: Dispatcher.ResponseData): Promise<string> {
  try {
    const problem = parseForeignJson((await readBody(answer, problemBytesMax)).toString()) as {
      detail?: unknown;
    } | null;
    return typeof problem?.detail === "string"
      ? problem.detail.slice(0, detailLengthMax)
      : "another node reported this";
  } catch {
    return "another node reported this"; // the code is what counts
  }
}

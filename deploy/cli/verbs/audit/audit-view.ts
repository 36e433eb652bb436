/** Formats entries of the audit log: a table, or a few lines per entry if the table is too wide; pure. */
import type { AuditEntry } from "../../origin-answers.ts";
import { tableLines, timeText } from "../../output.ts";

/** @param width of the terminal, in columns; undefined for a pipe */
export function auditLines(entries: readonly AuditEntry[], width?: number): string[] {
  if (entries.length === 0) return ["no entry matches"];
  const table = tableLines(
    ["TIME", "KIND", "NAME", "AUTHOR", "TOKEN", "ADDRESS", "CHANGE"],
    entries.map((entry) => [
      timeText(entry.at),
      entry.kind,
      targetText(entry),
      entry.author,
      tokenText(entry) ?? "-",
      entry.address ?? "-",
      factsText(entry.facts),
    ]),
  );
  if (width === undefined || table.every((line) => line.length <= width)) return table;
  return entries.flatMap((entry) => entryLines(entry, width));
}

/**
 *     2026-03-01 12:00:07 +01:00  purge  shop/chair.jpg
 *         by ada, with the token writer 1a2b3c4d, from 192.0.2.7; seq 4, soft
 */
function entryLines(entry: AuditEntry, width: number): string[] {
  const token = tokenText(entry);
  const who = [
    `by ${entry.author}`,
    ...(token === undefined ? [] : [`with the token ${token}`]),
    ...(entry.address === undefined ? [] : [`from ${entry.address}`]),
  ].join(", ");
  const facts = factsText(entry.facts);
  const [head = "", ...more] = wrapped(`${timeText(entry.at)}  ${entry.kind}  ${targetText(entry)}`, width - indent);
  const details = wrapped(facts === "" ? who : `${who}; ${facts}`, width - indent);
  return [head, ...[...more, ...details].map((line) => " ".repeat(indent) + line)];
}

const indent = 4;

/** Breaks text between words; a word longer than a line stays whole, so that it can be copied. */
function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/(?<! ) (?! )/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function tokenText({ token }: AuditEntry): string | undefined {
  return token === undefined ? undefined : `${token.kind} ${token.id}`;
}

function targetText({ targets, targetCount, facts }: AuditEntry): string {
  const [first] = targets;
  if (facts["all"] === true) return "everything";
  if (first === undefined) return facts["prefix"] === undefined ? "-" : `${factText("prefix", facts["prefix"])}*`;
  return targetCount === 1 ? first : `${first} and ${targetCount - 1} more`;
}

/** The label before the value of a fact; a key that is missing here is split into words. */
const factWords: Readonly<Record<string, string>> = {
  all: "everything",
  addresses: "addresses",
  backupOf: "from the backup of",
  count: "attempts:",
  fault: "the stored file was",
  force: "forced",
  fromVersion: "from version",
  http: "HTTP",
  id: "new id",
  latestSeq: "up to event",
  olderAcceptedUntil: "older tokens valid until",
  originIdBefore: "origin id before",
  peer: "peer address",
  retired: "older tokens retired:",
  revision: "roster revision",
  seq: "event",
  sha256: "SHA-256",
  soft: "soft",
  summary: "",
  token: "token:",
};

/** `version 4 (was 3), SHA-256 9f86d081884c`. */
function factsText(facts: AuditEntry["facts"]): string {
  return Object.entries(facts)
    .flatMap(([key, value]) => factPart(facts, key, value))
    .join(", ");
}

function factPart(facts: AuditEntry["facts"], key: string, value: AuditEntry["facts"][string]): string[] {
  const isToldElsewhere = key.endsWith("Before") && key.slice(0, -"Before".length) in facts;
  if (isToldElsewhere || value === false) return [];
  const words = factWords[key] ?? key.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  if (value === true) return [words];
  const before = facts[`${key}Before`];
  const text = `${words} ${factText(key, value)}`.trim();
  return [`${text}${before === undefined ? "" : ` (was ${factText(key, before)})`}`];
}

function factText(key: string, value: AuditEntry["facts"][string]): string {
  if (key.startsWith("sha256")) return String(value).slice(0, 12);
  if (key === "backupOf" || key === "olderAcceptedUntil") return timeText(String(value));
  return Array.isArray(value) ? value.join(" ") : String(value);
}

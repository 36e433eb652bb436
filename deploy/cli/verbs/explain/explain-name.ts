/**
 * Formats a node's explanation of a DNS answer (`GET /explain/dns`) for people; pure. The node may run another release
 * than this command, so missing fields are left out.
 *
 *   img.cdn.test A for 133.11.1.0 in Tokyo, JP (35.69, 139.69)
 *     answer  192.0.2.3  (site tyo)
 *     rule    geo, distance: tyo is the nearest, 5 km away
 *     scope   133.11.0.0/16: all its clients get this answer
 *     TTL     30 s, the longest allowed (ttlSeconds): no site's state can change by itself
 *     zone    cdn.test
 *
 *   SITE  STATE    KM  KEEPS  WEIGHT  CHOICE
 *   tyo   up        5  100 %       -  chosen
 */
import { cell, inside, texts } from "../../admin-client.ts";
import { tableLines } from "../../output.ts";

/** The meaning of each outcome that involves no steering. */
const outcomes: Readonly<Record<string, string>> = {
  records: "the zone's records, the same for every client",
  nodata: "none: the name has no record of this type (NODATA)",
  nxdomain: "none: there is no such name (NXDOMAIN)",
  yxdomain: "none: the name that the DNAME produces is too long (YXDOMAIN)",
  referral: "a referral: other nameservers answer for this part of the zone",
  refused: "REFUSED",
  notimp: "NOTIMP",
  invalid: "none",
};

/** Which sites are candidates when no site is up. */
const standings: Readonly<Record<string, string>> = {
  draining: "no site is up: draining sites are candidates",
  all: "no site is up or draining: all sites are candidates, because some answer is better than none",
};

/** Rows of candidates and hints: a fleet has at most this many sites. */
const rowsMax = 1000;

export function nameLines(body: Readonly<Record<string, unknown>>): string[] {
  const steering = inside(body, "steering");
  const rows = [...(isObject(steering) ? steeringRows(steering) : plainRows(body)), ...wayRows(body)];
  const width = Math.max(0, ...rows.map(([key]) => key.length));
  return [
    headLine(body, steering),
    ...rows.map(([key, text]) => `  ${key.padEnd(width)}  ${text}`),
    ...(isObject(steering) ? candidateLines(steering) : []),
  ];
}

type Row = readonly [key: string, text: string];

function headLine(body: Readonly<Record<string, unknown>>, steering: unknown): string {
  const asked = [textOf(body, "name"), textOf(body, "type")].filter((word) => word !== undefined).join(" ");
  const ip = textOf(steering, "client", "ip");
  if (ip === undefined) return asked;
  const place = [textOf(steering, "client", "city"), textOf(steering, "client", "country")];
  const where = place.filter((word) => word !== undefined).join(", ");
  const [latitude, longitude] = [inside(steering, "client", "latitude"), inside(steering, "client", "longitude")];
  const at =
    typeof latitude === "number" && typeof longitude === "number"
      ? ` (${latitude.toFixed(2)}, ${longitude.toFixed(2)})`
      : "";
  const asn = inside(steering, "client", "asn");
  const network = typeof asn === "number" ? `, AS${asn}` : "";
  return `${asked} for ${ip}${where === "" ? ", location unknown" : ` in ${where}`}${at}${network}`;
}

function plainRows(body: Readonly<Record<string, unknown>>): Row[] {
  const outcome = textOf(body, "outcome") ?? "";
  const reason = textOf(body, "reason");
  const hints = inside(body, "hints");
  const isHinted = Array.isArray(hints) && hints.length > 0;
  const told = isHinted ? "the zone's records, with addresses for this client" : (outcomes[outcome] ?? outcome);
  const answer: Row = ["answer", `${told}${reason === undefined ? "" : `: ${reason}`}`];
  if (!isHinted) return [answer];
  return [
    answer,
    ...hints.slice(0, rowsMax).flatMap((hint: unknown) =>
      ["ipv4", "ipv6"].flatMap((family): Row[] => {
        const one = inside(hint, family);
        return isObject(one) ? [[`${family}hint`, `${answerText(one)}: ${textOf(one, "why") ?? ""}`]] : [];
      }),
    ),
  ];
}

function steeringRows(steering: Readonly<Record<string, unknown>>): Row[] {
  const policy = textOf(steering, "policy");
  const rule = textOf(steering, "rule");
  const standing = standings[textOf(steering, "standing") ?? ""];
  const ttlSeconds = inside(steering, "ttlSeconds");
  const scope = textOf(steering, "scope");
  const isForAll = inside(steering, "scopePrefixLength") === 0;
  const ruleName = rule === undefined || rule === policy ? policy : `${policy ?? "?"}, ${rule}`;
  return [
    ["answer", answerText(steering)],
    ["rule", `${ruleName ?? "?"}: ${textOf(steering, "why") ?? ""}`],
    ...(standing === undefined ? [] : [["sites", standing] as const]),
    ...(scope === undefined
      ? []
      : [["scope", `${scope}: ${isForAll ? "every client gets" : "all clients in it get"} this answer`] as const]),
    ...(typeof ttlSeconds === "number"
      ? [["TTL", [`${ttlSeconds} s`, textOf(steering, "ttlReason")].filter(Boolean).join(", ")] as const]
      : []),
  ];
}

function answerText(steering: Readonly<Record<string, unknown>>): string {
  const addresses = texts(steering, "addresses");
  const chosen = textOf(steering, "chosen");
  const list = addresses.length > 0 ? addresses.join(", ") : "none";
  return chosen === undefined ? list : `${list}  (site ${chosen})`;
}

/** The zone, aliases and wildcard that led to the answer. */
function wayRows(body: Readonly<Record<string, unknown>>): Row[] {
  const target = textOf(body, "aliasTarget");
  const steps = [textOf(body, "name"), ...texts(body, "aliases")];
  const rows: Row[] = [];
  const [zone, wildcard] = [textOf(body, "zone"), textOf(body, "wildcard")];
  if (zone !== undefined) rows.push(["zone", zone]);
  if (steps.length > 1) rows.push(["aliases", steps.join(" → ")]);
  if (target !== undefined) rows.push(["ALIAS", `the addresses are those of ${target}`]);
  if (wildcard !== undefined) rows.push(["wildcard", `${wildcard} matches the name`]);
  return rows;
}

function candidateLines(steering: Readonly<Record<string, unknown>>): string[] {
  const candidates = inside(steering, "candidates");
  if (!Array.isArray(candidates) || candidates.length === 0) return [];
  const rows = candidates.slice(0, rowsMax).map((one: unknown) => {
    const keptShare = inside(one, "keptShare");
    const keeps = typeof keptShare === "number" ? `${Math.round(keptShare * 100)} %` : undefined;
    const figures = ["distanceKm", "weight"].map((key) => cell(inside(one, key)));
    return [textOf(one, "site"), textOf(one, "state"), figures[0], keeps, figures[1], choiceOf(one)];
  });
  const more = candidates.length - rows.length;
  return [
    "",
    ...tableLines(["SITE", "STATE", "KM", "KEEPS", "WEIGHT", "CHOICE"], rows),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}

function choiceOf(candidate: unknown): string {
  if (inside(candidate, "isChosen") === true) return "chosen";
  if (inside(candidate, "isCandidate") !== true) return "not a candidate";
  const preference = inside(candidate, "preference");
  return typeof preference === "number" ? `rank ${preference}` : "candidate";
}

function textOf(value: unknown, ...steps: readonly string[]): string | undefined {
  const text = inside(value, ...steps);
  return typeof text === "string" && text !== "" ? text : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

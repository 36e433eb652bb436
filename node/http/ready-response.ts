/** A delivery as a ready response: its heads as text, with holes for the numbers that change. Pure. */
import { headOf } from "../deliver/deliver.ts";
import { type Delivery, type StoredResponse } from "../deliver/outcome.ts";
import type { Verdict } from "../deliver/conditions.ts";
import type { ReadyBody, ReadyHead, ReadyResponse } from "../front/ready/ready-record.ts";
import { selectingFields } from "../front/ready/ready-key.ts";

/**
 * Undefined: requests for this response have to be judged one by one.
 * @param node the name in Cache-Status
 * @param endsAtMs wall-clock time from which the application decides again
 */
export function readyResponseOf(
  delivery: Delivery,
  stored: StoredResponse,
  body: ReadyBody,
  { node, endsAtMs }: { node: string; endsAtMs: number },
): ReadyResponse | undefined {
  const { outcome, status, ageSeconds, etag } = delivery;
  if (status !== 200 || outcome.word !== "hit" || ageSeconds === null) return undefined;
  if (!stored.selectedBy.every((name) => selectingFields.includes(name))) return undefined;
  const textOf = (verdict: Verdict, dropped = 0): string => {
    const { fields, block = null } = headOf(delivery, verdict, { node, startedMs: 0, nowMs: 0 });
    const kept = dropped === 0 ? fields : fields.slice(0, -dropped);
    let text = block === null ? "" : block.toString("latin1");
    for (let index = 0; index < kept.length; index += 2) text += `${kept[index]}: ${kept[index + 1]}\r\n`;
    return text;
  };
  const whole = textOf({ verdict: "whole" });
  // Content-Range and Content-Length: the thread that answers writes them.
  const part = textOf({ verdict: "part", start: 0, end: 1 }, 4);
  const notModified = textOf({ verdict: "not-modified" });
  if (!whole.startsWith(part)) return undefined;
  const numbers = { age: `\r\nAge: ${ageSeconds}\r\n`, ttl: `; ttl=${outcome.ttlSeconds}; detail=` };
  const heads = [withHoles(whole, numbers), withHoles(notModified, numbers)] as const;
  if (heads[0] === undefined || heads[1] === undefined) return undefined;
  return {
    whole: heads[0],
    partLength: part.length - numbersLengthOf(numbers),
    notModified: heads[1],
    hasDate: /^date:/im.test(whole),
    etag: etag ?? "",
    bornAtMs: stored.bornAtMs,
    lifetimeSeconds: stored.lifetimeSeconds,
    endsAtMs: Math.min(endsAtMs, stored.bornAtMs + stored.lifetimeSeconds * 1000),
    body,
  };
}

interface Numbers {
  readonly age: string;
  readonly ttl: string;
}

const [beforeAge, beforeTtl] = ["\r\nAge: ", "; ttl="];

/** Both are the last of their kind: what the object's own fields say comes before them. */
function withHoles(text: string, { age, ttl }: Numbers): ReadyHead | undefined {
  const agePlace = text.lastIndexOf(age);
  const ttlPlace = text.lastIndexOf(ttl);
  if (agePlace === -1 || ttlPlace < agePlace) return undefined;
  const ageAt = agePlace + beforeAge.length;
  const ageEnd = agePlace + age.length - 2;
  const ttlAt = ttlPlace + beforeTtl.length;
  const ttlEnd = ttlPlace + ttl.indexOf("; detail=");
  const cut = text.slice(0, ageAt) + text.slice(ageEnd, ttlAt) + text.slice(ttlEnd);
  return { text: cut, ageAt, ttlAt: ttlAt - (ageEnd - ageAt) };
}

/** The digits that the holes replace. */
function numbersLengthOf({ age, ttl }: Numbers): number {
  return age.length - beforeAge.length - 2 + (ttl.indexOf("; detail=") - beforeTtl.length);
}

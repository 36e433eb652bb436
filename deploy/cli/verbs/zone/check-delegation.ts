/**
 * Checks the delegation of a zone from outside, following the path of a resolver:
 *
 *   resolver ──NS of each name above the zone──▶ the parent zone and its nameservers
 *   parent's nameservers ──NS and DS of the zone──▶ what is missing, extra, or signed
 *   the zone's nameservers ──SOA of the zone──▶ who does not answer, or not with authority (lame)
 */
import { canonicalAddress } from "#base/ip-text.ts";
import { systemReason } from "#base/system-reason.ts";
import type { DnsServer } from "../../dns-query.ts";
import { type AskDns, type DnsReply, rcodeName, rcodes } from "./ask-dns.ts";
import { OutOfTime } from "./query-budget.ts";
import type { Delegation } from "./wanted-delegation.ts";

export interface Finding {
  readonly kind: "missing" | "extra" | "lame" | "signed";
  readonly text: string;
}

export interface CheckedDelegation {
  /** Undefined: it was not found, or could not be asked. */
  readonly parent: { readonly zone: string; readonly servers: readonly string[] } | undefined;
  /** Why the parent was not asked; undefined: it was. */
  readonly problem: string | undefined;
  readonly findings: readonly Finding[];
  /** What else could not be checked, and why: the verdict on the delegation is incomplete without it. */
  readonly unchecked: readonly string[];
}

/** A parent has up to 13 nameservers; this many either agree, or show that they differ. */
const parentServersMax = 4;
/** The maximum number of addresses that are asked for one zone; more would answer the same. */
const addressesMax = 16;

interface Asking {
  readonly ask: AskDns;
  readonly resolver: DnsServer;
  /** The port of nameservers: 53, except in tests. */
  readonly port: number;
}

export async function checkDelegation(wanted: Delegation, asking: Asking): Promise<CheckedDelegation> {
  const [above, own] = await Promise.all([askParent(wanted, asking), askOwn(wanted, asking)]);
  return {
    ...above,
    findings: [...above.findings, ...own.findings],
    unchecked: [...above.unchecked, ...own.unchecked],
  };
}

interface ParentReply {
  readonly server: string;
  readonly referral: DnsReply;
  readonly signed: DnsReply | Error;
}

async function askParent(wanted: Delegation, asking: Asking): Promise<CheckedDelegation> {
  const unasked = (problem: string): CheckedDelegation => ({ parent: undefined, problem, findings: [], unchecked: [] });
  const { host, port } = asking.resolver;
  const parent = await replyOf(findParent(wanted.zone, asking));
  if (parent instanceof OutOfTime) return unasked(parent.message);
  if (parent instanceof Error) {
    return unasked(`the resolver ${host} port ${port} does not answer: ${systemReason(parent)}`);
  }
  if (typeof parent === "string") return unasked(`the resolver ${host} ${parent}`);
  const replies: ParentReply[] = [];
  const failures: string[] = [];
  for (let next = 0; next < serversMax && replies.length === 0; next += parentServersMax) {
    const servers = parent.servers.slice(next, Math.min(next + parentServersMax, serversMax));
    const all = await Promise.all(servers.map(async (server) => await askParentServer(server, wanted.zone, asking)));
    for (const one of all) {
      if (typeof one === "string") failures.push(one);
      else replies.push(one);
    }
  }
  if (replies.length === 0) {
    return unasked(`no nameserver of the parent zone ${parent.zone} answers: ${failures.join("; ")}`);
  }
  const servers = replies.map(({ server }) => server).toSorted();
  const found = replies.flatMap(({ server, referral, signed }) =>
    [...compare(wanted, referral), ...signs(wanted, signed)].map((finding) => ({ server, finding })),
  );
  const [firstFailure] = replies.flatMap(({ signed }) => whyNoDsAnswer(signed));
  const isDsKnown = replies.some(({ signed }) => whyNoDsAnswer(signed).length === 0);
  return {
    parent: { zone: parent.zone, servers },
    problem: undefined,
    findings: joined(found, replies.length),
    unchecked: isDsKnown ? [] : [`whether the parent has a DS record for ${wanted.zone}: ${firstFailure ?? ""}`],
  };
}

/** The root has thirteen, and no zone needs more (RFC 9609). */
const serversMax = 13;

/** A string says why the server is useless. */
async function askParentServer(server: string, zone: string, asking: Asking): Promise<ParentReply | string> {
  const [host, why] = await firstAddressOf(server, asking);
  if (host === undefined) return `${server} ${why}`;
  const at = { host, port: asking.port };
  const [referral, signed] = await Promise.all(
    (["NS", "DS"] as const).map(
      async (type) => await replyOf(asking.ask(at, { name: zone, type, isRecursive: false })),
    ),
  );
  if (referral === undefined || signed === undefined) return server;
  if (referral instanceof Error) return `${server} (${host}): ${systemReason(referral)}`;
  const { rcode, isAuthoritative, nameservers } = referral;
  if (rcode !== rcodes.noError && rcode !== rcodes.nameError) {
    return `${server} (${host}): it answers ${rcodeName(rcode)}`;
  }
  if (!isAuthoritative && !nameservers.some(({ owner }) => owner === zone)) {
    return `${server} (${host}): it neither refers to ${zone} nor answers with authority`;
  }
  return { server, referral, signed };
}

function whyNoDsAnswer(reply: DnsReply | Error): string[] {
  if (reply instanceof Error) return [systemReason(reply)];
  if (reply.rcode === rcodes.noError || reply.rcode === rcodes.nameError) return [];
  return [`the parent answers ${rcodeName(reply.rcode)}`];
}

/** One finding for all servers that show it; if some do not, it names those that do. */
function joined(found: readonly { server: string; finding: Finding }[], count: number): Finding[] {
  return [...Map.groupBy(found, ({ finding }) => finding.text).values()].flatMap((alike) => {
    const [first] = alike;
    if (first === undefined) return [];
    const { kind, text } = first.finding;
    const where = alike.map(({ server }) => server).toSorted();
    return [{ kind, text: where.length === count ? text : `${text} (at ${where.join(", ")})` }];
  });
}

/** The nearest enclosing zone; a string says why it is unknown. @throws Error when the resolver does not answer */
async function findParent(
  zone: string,
  { ask, resolver }: Asking,
): Promise<{ zone: string; servers: string[] } | string> {
  const labels = zone.split(".");
  for (let depth = 1; depth <= labels.length; depth++) {
    const name = labels.slice(depth).join(".");
    const reply = await ask(resolver, { name, type: "NS", isRecursive: true });
    const shown = name === "" ? "." : name;
    // The name above may still be a zone, and then a zone further up is not the parent.
    if (reply.rcode !== rcodes.noError && reply.rcode !== rcodes.nameError) {
      return `answers ${rcodeName(reply.rcode)} for the NS records of ${shown}`;
    }
    const servers = reply.nameservers.filter(({ owner }) => owner === name).map(({ target }) => target);
    if (reply.rcode === rcodes.noError && servers.length > 0) return { zone: shown, servers: [...new Set(servers)] };
  }
  return `finds no zone above ${zone}`;
}

/** IPv4 first, since every machine supports it. @throws Error when the resolver does not answer */
async function addressesOf(server: string, { ask, resolver }: Asking): Promise<string[]> {
  for (const type of ["A", "AAAA"] as const) {
    const { rcode, addresses } = await ask(resolver, { name: server, type, isRecursive: true });
    if (rcode !== rcodes.noError && rcode !== rcodes.nameError) {
      throw new Error(`the resolver answers ${rcodeName(rcode)} for ${server}`);
    }
    if (addresses.length > 0) return [...new Set(addresses)].slice(0, addressesMax);
  }
  return [];
}

async function firstAddressOf(server: string, asking: Asking): Promise<[host: string | undefined, why: string]> {
  const hosts = await replyOf(addressesOf(server, asking));
  if (hosts instanceof Error) return [undefined, `(address unknown): ${systemReason(hosts)}`];
  return [hosts[0], "has no address"];
}

function compare({ zone, nameservers }: Delegation, reply: DnsReply): Finding[] {
  const there = new Set(reply.nameservers.filter(({ owner }) => owner === zone).map(({ target }) => target));
  if (there.size === 0) {
    const instead = reply.answerTypes.includes("CNAME") ? ": it has a CNAME record there" : "";
    return [{ kind: "missing", text: `the parent has no NS records for ${zone}${instead}` }];
  }
  const findings: Finding[] = [];
  const wanted = new Map(nameservers.map((server) => [server.name, server]));
  for (const name of wanted.keys()) {
    if (!there.has(name)) findings.push({ kind: "missing", text: `NS ${name}` });
  }
  for (const name of there) {
    if (!wanted.has(name)) findings.push({ kind: "extra", text: `NS ${name} is not in the fleet document` });
  }
  // A server that also has authority for the zone itself sends no referral, so its glue is not visible.
  if (reply.isAuthoritative) return findings;
  for (const { name, isInside, addresses } of nameservers) {
    if (!isInside || !there.has(name)) continue;
    const expected = new Set(addresses.map((address) => canonicalAddress(address)));
    const glue = new Set(reply.glue.filter(({ owner }) => owner === name).map(({ address }) => address));
    for (const address of expected) {
      if (!glue.has(address)) findings.push({ kind: "missing", text: `glue ${name} ${address}` });
    }
    for (const address of glue) {
      if (!expected.has(address)) {
        findings.push({ kind: "extra", text: `glue ${name} ${address} is not in the fleet document` });
      }
    }
  }
  return findings;
}

function signs({ zone }: Delegation, reply: DnsReply | Error): Finding[] {
  if (reply instanceof Error || !reply.hasDs) return [];
  const text = `the parent has a DS record for ${zone}, which is not signed: validating resolvers reject its answers`;
  return [{ kind: "signed", text }];
}

/** The result for one address of a nameserver. `isFamilyMissing`: this machine has no route to any such address. */
type Outcome = { right: true } | { finding: Finding } | { unknown: string; isFamilyMissing?: true };

async function askOwn(
  { zone, nameservers }: Delegation,
  asking: Asking,
): Promise<Pick<CheckedDelegation, "findings" | "unchecked">> {
  const outcomes = (
    await Promise.all(
      nameservers.map(async ({ name, isInside, addresses }): Promise<Outcome[]> => {
        const hosts = isInside ? addresses : await replyOf(addressesOf(name, asking));
        if (hosts instanceof Error) return [{ unknown: `${name}: ${systemReason(hosts)}` }];
        if (hosts.length === 0) return [{ finding: { kind: "lame", text: `${name} has no address` } }];
        return await Promise.all(hosts.map(async (host) => await askOwnServer(zone, name, host, asking)));
      }),
    )
  ).flat();
  const findings = outcomes.flatMap((outcome) => ("finding" in outcome ? [outcome.finding] : []));
  // Addresses of a family that this machine does not have are irrelevant if another address was reached.
  const isAnyAsked = outcomes.some((outcome) => !("unknown" in outcome));
  const unchecked = outcomes.flatMap((outcome) =>
    "unknown" in outcome && !(isAnyAsked && outcome.isFamilyMissing === true) ? [outcome.unknown] : [],
  );
  return { findings, unchecked };
}

async function askOwnServer(zone: string, name: string, host: string, asking: Asking): Promise<Outcome> {
  const question = { name: zone, type: "SOA", isRecursive: false } as const;
  const reply = await replyOf(asking.ask({ host, port: asking.port }, question));
  const where = `${name} (${host})`;
  if (reply instanceof OutOfTime) return { unknown: `${where}: ${reply.message}` };
  if (reply instanceof Error) {
    if (isFamilyMissing(reply)) return { unknown: `${where}: this machine has no route to it`, isFamilyMissing: true };
    return { finding: { kind: "lame", text: `${where} does not answer: ${systemReason(reply)}` } };
  }
  const answers = reply.rcode === rcodes.noError && reply.answerTypes.includes("SOA");
  if (answers && reply.isAuthoritative) return { right: true };
  const what = reply.rcode === rcodes.noError ? "" : `: it answers ${rcodeName(reply.rcode)}`;
  return { finding: { kind: "lame", text: `${where} does not answer for ${zone} with authority${what}` } };
}

/** This machine has no IPv6 (or IPv4), so the error says nothing about the server. */
function isFamilyMissing(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENETUNREACH" || code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT";
}

/** Treats a missing answer as a result. */
async function replyOf<Reply>(asked: Promise<Reply>): Promise<Reply | Error> {
  try {
    return await asked;
  } catch (error) {
    return error as Error;
  }
}

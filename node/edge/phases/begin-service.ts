/**
 * The last phase, which may wait for the origin indefinitely: document ─▶ decoders ─▶ peers ─▶ first judgement of all
 * nodes ─▶ DNS ─▶ ready ─▶ lease. A node without DNS is ready when it has its peers.
 */
import { sleep } from "#base/clock.ts";
import { openLoopMeter } from "../../observe/loop-meter.ts";
import { type Announcement, openAnnouncement } from "../announcement.ts";
import { type ClientListener, type ClientSide, listenForClients } from "./client-listeners.ts";
import type { OpenedEdge } from "../opened-edge.ts";
import { currentFleet } from "../parts.ts";

/** The deadline for another node to say whether it announces the prefixes that this one is about to withdraw. */
const askMs = 500;
const fleetRetryMs = 1000;

/** @param ended aborted when the edge stops */
export async function beginService(
  edge: OpenedEdge,
  clientSide: ClientSide,
  listeners: ClientListener[],
  ended: AbortSignal,
): Promise<void> {
  const { setup, caches, membership, servers, probing, dns } = edge;
  const { config, lifecycle, parts, clock } = setup;
  await awaitFleet(edge, ended);
  await awaitSecret(edge);
  await caches.decoders.ready();
  await servers.peering?.listen({ ...servers, tiers: caches.tiers });
  // With shared ports, other processes serve meanwhile, but connections that the kernel gives to this process need
  // service.
  if (setup.process.sharesPorts) await listenForClients(setup, clientSide, listeners);
  // Others are told so when DNS answers as well (presence.ts).
  if (parts.presence === "starting") parts.presence = "ready";
  probing.prober.watch(membership.fleet());
  await probing.prober.judged();
  if (ended.aborted) return;
  // Deferred here, so that at the end DNS stops before HTTP.
  lifecycle.defer("DNS", dns.close);
  await dns.begin();
  parts.loop = openLoopMeter(clock);
  lifecycle.defer("loop meter", parts.loop.close);
  const { announce } = config;
  if (announce === undefined || ended.aborted) return;
  const announcement = openLeaseOf(edge, announce);
  parts.announcement = announcement;
  lifecycle.defer("lease", announcement.close);
  announcement.refresh();
}

/** Requests a fleet document from the origin until there is one. */
async function awaitFleet({ setup, membership }: OpenedEdge, ended: AbortSignal): Promise<void> {
  const { clock, log } = setup;
  let lastReason: string | undefined;
  while (membership.current() === null) {
    await membership.takeFleet().catch((error: unknown) => {
      const reason = (error as Error).message;
      // The same reason is logged once.
      const level = reason === lastReason ? "debug" : "warn";
      log[level]({ reason }, "no fleet document yet; asking the origin again");
      lastReason = reason;
    });
    if (membership.current() === null) await sleep(clock, fleetRetryMs, ended);
  }
}

/** Without a secret this node can't prove its health answers, and all nodes that have it would judge this one down. */
async function awaitSecret({ setup, link }: OpenedEdge): Promise<void> {
  if (link.secrets.id() !== null) return;
  await link.secrets.take().catch((error: unknown) => {
    setup.log.warn({ reason: (error as Error).message }, "no fleet secret yet; asking the origin again");
  });
}

function openLeaseOf(
  { setup, membership, probing }: OpenedEdge,
  announce: NonNullable<OpenedEdge["setup"]["config"]["announce"]>,
): Announcement {
  const { config, parts, clock, random, log } = setup;
  const { prober, probes } = probing;
  return openAnnouncement({
    config: { ...config, announce },
    processIndex: setup.process.index,
    fleet: () => currentFleet(parts),
    standing: membership.standing,
    health: prober.health,
    answers: prober.answers,
    async ask(node) {
      const result = await probes.probe(node, askMs);
      return result.outcome === "failed" || result.outcome === "held" ? undefined : result.answer;
    },
    clock,
    random,
    log,
  });
}

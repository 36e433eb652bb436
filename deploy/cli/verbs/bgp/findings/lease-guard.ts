/** Can anyone except the edge take the lease? Checks the session's key and the nftables rule. */
import type { AnnouncementPlan } from "../announcement-plan.ts";
import type { Facts, UnsignedAttempt } from "../machine-facts.ts";
import type { Finding } from "./finding.ts";
import { configAgain } from "./sessions.ts";

/** Without the key, any user of this machine can connect from the edge's address and announce routes. */
export function* guardFindings(facts: Facts, plan: AnnouncementPlan): Generator<Finding> {
  const { edge, leaseKey, unsigned, leaseGuard } = facts;
  if (edge.announce === undefined) return;
  if (leaseKey === undefined) {
    yield {
      level: "fail",
      about: "guard",
      what: "edge.yaml has no announce.keyFile: any user of this machine can take the lease when no edge holds it",
      mend: `${configAgain(plan)}; then set announce.keyFile in edge.yaml`,
    };
  } else if (!leaseKey.ok) yield { level: "fail", about: "guard", what: leaseKey.reason, mend: configAgain(plan) };
  for (const attempt of unsigned) yield attemptFinding(attempt, facts, plan);
  yield ruleFinding(leaseGuard, edge.announce.neighbor.port);
}

function attemptFinding({ source, outcome }: UnsignedAttempt, { isRoot }: Facts, plan: AnnouncementPlan): Finding {
  if (outcome === "accepted") {
    const what = `BIRD accepts a connection from ${source} without a key`;
    return { level: "fail", about: "guard", what, mend: configAgain(plan) };
  }
  if (outcome === "unanswered") {
    return { level: "ok", about: "guard", what: `BIRD does not answer connections from ${source} without the key` };
  }
  if (outcome === "reset" && !isRoot) {
    const what = `a connection from ${source} without a key was not tried: BIRD refuses connections of this user`;
    return { level: "warn", about: "guard", what, mend: "run this as root, which the nftables rule allows" };
  }
  const reason = outcome === "reset" ? "connection refused" : outcome.reason;
  const what = `a connection from ${source} without a key could not be tried: ${reason}`;
  return { level: "warn", about: "guard", what, mend: "is BIRD running? systemctl status bird" };
}

function ruleFinding(rule: Facts["leaseGuard"], port: number): Finding {
  if (rule.ok) {
    const what = "an nftables rule lets only root and the edge's user connect to BIRD";
    return { level: "ok", about: "guard", what };
  }
  if (rule.isForbidden === true) {
    const what = `only root can see whether an nftables rule keeps other users from BIRD's port ${port}`;
    return { level: "warn", about: "guard", what, mend: "run this as root" };
  }
  const what = `no nftables rule keeps other users from BIRD's port ${port} (${rule.reason})`;
  return { level: "warn", about: "guard", what, mend: "systemctl enable --now nearcast-lease-guard" };
}

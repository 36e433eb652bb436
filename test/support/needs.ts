/**
 * Tests that need more than npm brings (a program, a privilege) ask here. Where it is missing the test is skipped by
 * name; where CI=true it fails instead, since a skip there would hide a missing install step.
 */
import { execFileSync } from "node:child_process";
import type { TestContext } from "node:test";

/** Returns whether `program` can be run; if not, the test is skipped, or fails in CI. */
export function needsProgram(t: TestContext, program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`], { stdio: "ignore" });
    return true;
  } catch {
    return refuse(t, `the program \`${program}\` is not installed`);
  }
}

/** Returns `isThere`; if false, the test is skipped with the reason, or fails in CI. */
export function needs(t: TestContext, isThere: boolean, reason: string): boolean {
  return isThere || refuse(t, reason);
}

function refuse(t: TestContext, reason: string): false {
  if (process.env["CI"] === "true") throw new Error(`${reason}; in CI nothing is skipped`);
  t.skip(reason);
  return false;
}

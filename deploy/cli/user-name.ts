/** Who runs this command, as versions and the audit log note it. */
import { userInfo } from "node:os";

/** A name, or `uid 10001` where the user has no entry in passwd, as in containers that run under a number. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.geteuid?.() ?? "unknown"}`;
  }
}

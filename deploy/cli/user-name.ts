/** The user who runs this command, for versions and the audit log. */
import { userInfo } from "node:os";

/** A name, or `uid 10001` if the user has no passwd entry, as in containers that run with a numeric user. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return `uid ${process.geteuid?.() ?? "unknown"}`;
  }
}

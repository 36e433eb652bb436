/** Request targets in absolute-form, which every server must accept (RFC 9112 §3.2.2). Pure. */

export interface SplitTarget {
  /** Counts in place of the Host field; null: the target has another form. */
  readonly authority: string | null;
  /** The origin-form, or the target as it is. */
  readonly rest: string;
}

/** Splits `http://host:80/a?b` into `host:80` and `/a?b`. */
export function splitAbsolute(target: string): SplitTarget {
  if (target.startsWith("/")) return { authority: null, rest: target };
  const absolute = /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target);
  if (absolute === null) return { authority: null, rest: target };
  const [, authority = "", rest = ""] = absolute;
  return { authority, rest: rest.startsWith("/") ? rest : `/${rest}` };
}

/** Tags of cached objects, by which a purge finds them. The disk cache stores them, so their format must not change. */

/** The source of this name, and each variant of it. */
export function sourceTag(name: string): string {
  return `source:${name}`;
}

export function isSourceTag(tag: string): boolean {
  return tag.startsWith("source:");
}

/** @param host canonical */
export function hostTag(host: string): string {
  return `host:${host}`;
}

/**
 * A file of an assets host, with any query. Some clients send `^` as it is, others and URL parsers encode it: one purge
 * finds both.
 * @param host canonical
 */
export function urlTag(host: string, path: string): string {
  return `url:${host}${path.replaceAll("^", "%5E")}`;
}

export function isUrlTag(tag: string): boolean {
  return tag.startsWith("url:");
}

/** The host of a tag, or of a prefix of tags, that urlTag() makes. */
export function hostOfUrlTag(tag: string): string | undefined {
  const slash = tag.indexOf("/");
  return isUrlTag(tag) && slash > 0 ? tag.slice("url:".length, slash) : undefined;
}

/** A tag that the origin of an assets host gave the file in its Cache-Tag field. */
export function cacheTag(tag: string): string {
  return `tag:${tag}`;
}

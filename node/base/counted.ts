/** Counts in sentences: `1 picture`, `2 pictures`, `0 entries`. */

/** @param plural default: the singular plus "s" */
export function counted(count: number, singular: string, plural = `${singular}s`): string {
  return `${count} ${count === 1 ? singular : plural}`;
}

/** Where a change of a file waits for `editor` on a machine of the runbook. */
export function editFile(name: string): string {
  return `/run/edits/${name}`;
}

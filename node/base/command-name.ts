/**
 * How to type this command on this machine, for hints that say what to type next.
 *
 *   nearcast       a `nearcast` on the PATH: `npm install -g`, deploy/install.sh, the container
 *   npx nearcast   a checkout, or a project's own node_modules/.bin, neither of which is on the PATH
 *
 * A process can't know how the command is typed on another machine. So text that goes over the network writes commands
 * as `nearcast VERB`, in backticks, and the command that shows it replaces the name with asTyped().
 */
import { basename, dirname, sep } from "node:path";

/**
 * @param started the script as passed to the process, without following links: `process.argv[1]`
 * @param isCheckout whether the TypeScript itself runs, not code compiled for an installation
 */
export function commandName(started: string | undefined, isCheckout: boolean): string {
  const byNpx = "npx nearcast";
  const byPath = "nearcast";
  if (started !== undefined && basename(started) === "nearcast") {
    return dirname(started).endsWith(`node_modules${sep}.bin`) ? byNpx : byPath;
  }
  return isCheckout ? byNpx : byPath;
}

/** The name for this process. Read when the module is loaded, because serve-process.ts changes the arguments later. */
export const command = commandName(process.argv[1], import.meta.url.endsWith(".ts"));

/** Text that may come from another machine, with its commands as they are typed on this one. */
export function asTyped(text: string, name: string = command): string {
  return text.replaceAll(/`nearcast (?=[a-z])/g, `\`${name} `);
}

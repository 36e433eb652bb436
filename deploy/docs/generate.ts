/**
 * Generates the pages of deploy/docs that come from the code, so that the two can't disagree:
 *
 *   configuration.md   from the schemas of edge, origin and fleet document
 *   commands.md        from the verbs' `--help`
 *   metrics.md         from the help texts of the metrics
 *   errors.md          from the error catalogue
 *
 * `npm run docs` runs this file. test/docs/generated.test.ts fails while a page differs from the code.
 */
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { format } from "prettier";
import { commandsPage } from "./commands-page.ts";
import { configurationPage } from "./configuration-page.ts";
import { errorsPage } from "./errors-page.ts";
import { metricsPage } from "./metrics-page.ts";

/** File name → text of each generated page. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  const texts: readonly (readonly [string, string])[] = [
    ["configuration.md", configurationPage()],
    ["commands.md", commandsPage()],
    ["metrics.md", await metricsPage()],
    ["errors.md", errorsPage()],
  ];
  const pages = new Map<string, string>();
  for (const [name, text] of texts) pages.set(name, await format(text, { parser: "markdown", printWidth: 120 }));
  return pages;
}

if (import.meta.main) {
  for (const [name, text] of await generatedPages()) {
    await writeFile(fileURLToPath(new URL(name, import.meta.url)), text);
  }
}

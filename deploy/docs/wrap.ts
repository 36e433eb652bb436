/** Lays out text for the generated pages. */

const columnsMax = 120;

/**
 * Breaks a text between words so that no line is wider than the page.
 * @param first starts the first line, such as `- `; later lines are indented by its width
 */
export function wrapped(text: string, first = ""): string {
  const indent = " ".repeat(first.length);
  const lines: string[] = [];
  let line = first;
  // A span of code stays in one piece.
  for (const word of text.match(/(?:`[^`]*`|[^\s`])+/g) ?? []) {
    const isStart = line === first || line === indent;
    if (!isStart && line.length + 1 + word.length > columnsMax) {
      lines.push(line);
      line = indent + word;
    } else line += isStart ? word : ` ${word}`;
  }
  lines.push(line);
  return lines.join("\n");
}

export function code(text: string): string {
  return `\`${text}\``;
}

/** Quotes text from a zone file for a problem: shortened, and without terminal control characters. */
export function quote(text: string): string {
  const shown = JSON.stringify(text.length <= 60 ? text : `${text.slice(0, 57)}...`);
  // JSON does not escape C1 control characters, line separators and bidirectional controls.
  return shown.replaceAll(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

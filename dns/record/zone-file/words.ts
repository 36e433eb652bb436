/** How a problem shows what was written: cut short, and with nothing in it that a terminal would obey. */
export function quote(text: string): string {
  const shown = JSON.stringify(text.length <= 60 ? text : `${text.slice(0, 57)}...`);
  // JSON itself leaves the second set of control characters, and those that turn the direction of writing.
  return shown.replaceAll(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

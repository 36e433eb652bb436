/** How a problem shows what was written: cut short, and with nothing in it that a terminal would obey. */
export function quote(text: string): string {
  return JSON.stringify(text.length <= 60 ? text : `${text.slice(0, 57)}...`);
}

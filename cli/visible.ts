/** Text from outside made safe for a terminal: what would move the cursor or turn the reading order is shown, not done. */

/** C0 and C1 controls, DEL, and Unicode's direction overrides. */
const CONTROL = /[\p{Cc}\u200E\u200F\u202A-\u202E\u2066-\u2069]/gu;

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** One line: line ends are shown too. */
export const visible = (text: string): string => text.replaceAll(CONTROL, escaped);

/** Several lines: line ends and tabs stay. */
export const visibleLines = (text: string): string =>
  text.replaceAll(CONTROL, (character) => (character === "\n" || character === "\t" ? character : escaped(character)));

/** A guest's console on a terminal: carriage returns stay too. */
export const visibleConsole = (text: string): string =>
  text.replaceAll(CONTROL, (character) => ("\n\t\r\b".includes(character) ? character : escaped(character)));

export function hasControl(text: string): boolean {
  return text.search(CONTROL) >= 0;
}

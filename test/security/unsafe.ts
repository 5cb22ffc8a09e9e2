/** Characters that work on a terminal or break a line, instead of being read. */

/** Controls, line and paragraph separators, and what turns the direction of writing. */
const UNSAFE = /[\p{Cc}\u200E\u200F\u2028-\u202E\u2066-\u2069]/gu;

/** Those in the text, as their numbers; line ends and tabs may stand in what a command prints. */
export const unsafeIn = (text: string, allowed = "\n\t"): string =>
  [...text.matchAll(UNSAFE)].filter(([character]) => !allowed.includes(character)).map(([character]) => `U+${character.codePointAt(0)!.toString(16)}`).join();

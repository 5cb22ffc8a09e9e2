/** Text of libvirt and QEMU for whoever is told (pure): the API takes no control characters, and QEMU's errors have several lines. */

/** As the API takes it. */
const LENGTH_MAX = 1024;

export const oneLine = (text: string): string => text.replaceAll(/\p{Cc}+/gu, " ").slice(0, LENGTH_MAX);

/** What was thrown, as that. */
export const errorLine = (error: unknown): string => oneLine(error instanceof Error ? error.message : String(error));

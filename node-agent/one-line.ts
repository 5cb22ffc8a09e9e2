/** Text of libvirt and QEMU for a report (pure): the API takes no control characters, and QEMU's errors have several lines. */
export const oneLine = (text: string, lengthMax: number): string => text.replaceAll(/\p{Cc}+/gu, " ").slice(0, lengthMax);

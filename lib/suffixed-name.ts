/** Names of objects that are made for others: what they are made for, and what keeps them apart. Pure. */

const LENGTH_MAX = 63;

/** A DNS label: the stem is cut so that the whole suffix has its place. */
export const suffixedName = (stem: string, suffix: string): string => `${stem.slice(0, LENGTH_MAX - suffix.length - 1).replace(/-+$/, "")}-${suffix}`;

/** What several loops must not do at the same time. */

/** Lets one run at a time through, in the order in which they came. */
export type Gate = (run: () => Promise<void>) => Promise<void>;

export function serialGate(): Gate {
  let last = Promise.resolve();
  return (run) => {
    const mine = last.then(run);
    last = mine.catch(() => undefined);
    return mine;
  };
}

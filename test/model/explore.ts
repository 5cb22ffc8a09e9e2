/**
 * Walks every state that a model can come to, the nearest first, so that the story of a fault is as short as it can be.
 * What may happen is the model's: time, losses and crashes are steps like any other.
 */
export type Step<S> = { name: string; to: S };

export type Model<S> = {
  start: S;
  steps: (state: S) => Step<S>[];
  /** Equal for equal states, and only for them. */
  key: (state: S) => string;
  /** What must never be, in words; undefined where all is well. `steps` is what can still happen there. */
  fault: (state: S, steps: readonly Step<S>[]) => string | undefined;
};

export type Walk = { states: number; fault?: string; story?: string[] };

/** More than any model here has: a walk that comes so far has lost its bounds. */
const STATES_MAX = 3_000_000;

/** Ends at the first fault, or when every state has been seen. */
export function explore<S>({ start, steps, key, fault }: Model<S>): Walk {
  const numbers = new Map([[key(start), 0]]);
  const cameFrom: { from: number; name: string }[] = [{ from: -1, name: "" }];
  let frontier: { state: S; number: number }[] = [{ state: start, number: 0 }];
  while (frontier.length > 0) {
    const further: typeof frontier = [];
    for (const { state, number } of frontier) {
      const next = steps(state);
      const wrong = fault(state, next);
      if (wrong !== undefined) return { states: numbers.size, fault: wrong, story: storyOf(cameFrom, number) };
      for (const { name, to } of next) {
        const reached = key(to);
        if (numbers.has(reached)) continue;
        further.push({ state: to, number: numbers.size });
        numbers.set(reached, numbers.size);
        cameFrom.push({ from: number, name });
      }
    }
    if (numbers.size > STATES_MAX) throw new Error(`The model has more than ${STATES_MAX} states`);
    frontier = further;
  }
  return { states: numbers.size };
}

function storyOf(cameFrom: readonly { from: number; name: string }[], last: number): string[] {
  const story: string[] = [];
  for (let number = last; number > 0; number = cameFrom[number]!.from) story.unshift(cameFrom[number]!.name);
  return story;
}

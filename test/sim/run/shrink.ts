/** Makes a failing plan small: leaves steps out as long as the same rule is still broken (delta debugging). */
import type { Plan, Step } from "../plan/plan.ts";
import type { Result } from "../simulate.ts";

const TRIES_MAX = 80;

export async function shrink(plan: Plan, invariant: string, simulate: (plan: Plan) => Promise<Result>): Promise<{ plan: Plan; result: Result }> {
  let steps: readonly Step[] = plan.steps;
  let result: Result | undefined;
  let tries = 0;
  const stillFails = async (some: readonly Step[]): Promise<boolean> => {
    if (tries >= TRIES_MAX) return false;
    tries += 1;
    const attempt = await simulate({ ...plan, steps: [...some] });
    if (attempt.broken?.invariant !== invariant) return false;
    result = attempt;
    return true;
  };
  for (let size = Math.ceil(steps.length / 2); size >= 1 && steps.length > 0; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < steps.length; ) {
      const without = [...steps.slice(0, at), ...steps.slice(at + size)];
      if (await stillFails(without)) steps = without;
      else at += size;
    }
  }
  const small = { ...plan, steps: [...steps] };
  return { plan: small, result: result ?? (await simulate(small)) };
}

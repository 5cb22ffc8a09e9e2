/**
 * The places at which a program may die: before and after everything that leaves it, which is where its ports are. A name
 * says the program, the act, and on which side of it.
 */
import { ANY_AGENT } from "../plan/plan.ts";
import type { Life } from "../world/life.ts";

export type Armed = { /** A program's name, or ANY_AGENT. */ life: string; point: string; /** Counted from when it was armed. */ nth: number };

export class Failpoints {
  /** How often each was passed, and how often somebody died there. */
  readonly passed = new Map<string, number>();
  readonly struck = new Map<string, number>();
  readonly #armed: Armed[] = [];
  readonly #kill: (life: Life, point: string) => void;

  constructor(kill: (life: Life, point: string) => void) {
    this.#kill = kill;
  }

  arm(armed: Armed): void {
    this.#armed.push({ ...armed });
  }

  disarmAll(): void {
    this.#armed.length = 0;
  }

  /** True when the program died here. */
  passes(life: Life, point: string): boolean {
    if (life.dead) return true;
    this.passed.set(point, (this.passed.get(point) ?? 0) + 1);
    const hit = this.#armed.find((armed) => isOf(armed.life, life.name) && armed.point === point && (armed.nth -= 1) <= 0);
    if (!hit) return false;
    this.#armed.splice(this.#armed.indexOf(hit), 1);
    this.struck.set(point, (this.struck.get(point) ?? 0) + 1);
    this.#kill(life, point);
    return true;
  }
}

const isOf = (whose: string, name: string): boolean => whose === name || (whose === ANY_AGENT && name.startsWith("agent/"));

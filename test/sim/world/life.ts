/**
 * One process from its start to its death. Whatever comes to it from outside comes through here, so that a frozen process
 * hears it later and a dead one never: its promises just stay, as its memory would be gone.
 */
import type { Clock, Timer } from "../../../lib/clock.ts";
import type { Logger } from "../../../lib/log.ts";
import type { Random } from "../../../lib/random.ts";
import type { World } from "./world.ts";

/** Of the wall, for people: no decision reads it. */
const BEGAN = Date.UTC(2026, 0, 1);

export type Said = (life: Life, text: string, about: unknown) => void;

export class Life {
  readonly name: string;
  readonly world: World;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Aborts at death, for what the simulation itself has running on the process's behalf. */
  readonly ended = new AbortController();
  readonly #said: Said | undefined;
  #dead = false;
  #frozen = false;
  #waiting: (() => void)[] = [];

  /** `rate`: how fast the process's clock runs. `said`: hears what it logs. */
  constructor(world: World, name: string, { rate = 1, incarnation = 0, said }: { rate?: number; incarnation?: number; said?: Said } = {}) {
    this.#said = said;
    this.world = world;
    this.name = name;
    const startMs = world.nowMs;
    this.random = world.chance(`${name}#${incarnation}`);
    this.clock = {
      monotonicMs: () => (world.nowMs - startMs) * rate,
      now: () => new Date(BEGAN + Math.round(world.nowMs * rate)),
      after: (delayMs, run) => (this.#dead ? { cancel: () => undefined } : this.#timer(Math.max(0, delayMs) / rate, run)),
    };
    this.log = loggerOf(this);
  }

  /** One that was due while the process lay still can be called off until it is heard. */
  #timer(delayMs: number, run: () => void): Timer {
    let isOff = false;
    const timer = this.world.after(delayMs, () => this.enter(() => isOff || run()));
    return {
      cancel: () => {
        isOff = true;
        timer.cancel();
      },
    };
  }

  get dead(): boolean {
    return this.#dead;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  get running(): boolean {
    return !this.#dead && !this.#frozen;
  }

  says(text: string, about: unknown): void {
    if (!this.#dead) this.#said?.(this, text, about);
  }

  /** Something happens to the process: now, when it is thawed, or never. */
  enter(run: () => void): void {
    if (this.#dead) return;
    if (this.#frozen) this.#waiting.push(run);
    else run();
  }

  /** Resolves while the process runs. */
  alive(): Promise<void> {
    if (this.running) return Promise.resolve();
    return new Promise((resolve) => this.enter(resolve));
  }

  /** Answers to the process come this way. */
  async hears<T>(answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      await this.alive();
      return value;
    } catch (error) {
      await this.alive();
      throw error;
    }
  }

  kill(): void {
    this.#dead = true;
    this.#waiting = [];
    this.ended.abort(new Error(`${this.name} is dead`));
  }

  freeze(): void {
    if (!this.#dead) this.#frozen = true;
  }

  thaw(): void {
    this.#frozen = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    // Each in a turn of its own, in order, as they came.
    for (const run of waiting) this.world.after(0, () => this.enter(run));
  }
}

type Level = "trace" | "debug" | "info" | "warn" | "error" | "fatal";
const LEVELS: readonly Level[] = ["trace", "debug", "info", "warn", "error", "fatal"];
const LOUD: ReadonlySet<Level> = new Set(["info", "warn", "error", "fatal"]);

/** What a program says is part of the story, when the story is kept. */
function loggerOf(life: Life): Logger {
  const say = (level: Level) => (about: unknown, text?: string) => {
    if (level === "info") life.says(text ?? String(about), about);
    if (process.env["SIM_LOG"] === undefined || (!LOUD.has(level) && process.env["SIM_LOG"] !== "debug")) return;
    process.stderr.write(`${life.world.nowMs.toFixed(3)} ${life.name} ${level} ${text ?? ""} ${JSON.stringify(about, plainErrors)}\n`);
  };
  const log = Object.fromEntries(LEVELS.map((level) => [level, say(level)]));
  return Object.assign(log, { child: () => log }) as unknown as Logger;
}

const plainErrors = (_key: string, value: unknown): unknown => (value instanceof Error ? `${value.name}: ${value.message}` : value);

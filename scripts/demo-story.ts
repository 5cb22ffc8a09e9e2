/** Steps with their times, told as they happen, and drawn as one picture at the end. */
import { systemClock } from "../lib/clock.ts";

const BAR_COLUMNS = 40;

type Step = { title: string; beganMs: number; tookMs: number };

export class Story {
  readonly #write: (line: string) => void;
  readonly #beganMs = systemClock.monotonicMs();
  readonly #steps: Step[] = [];

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  async step<T>(title: string, act: () => Promise<T>): Promise<T> {
    const beganMs = systemClock.monotonicMs() - this.#beganMs;
    try {
      const answer = await act();
      const tookMs = systemClock.monotonicMs() - this.#beganMs - beganMs;
      this.#steps.push({ title, beganMs, tookMs });
      this.#write(`${seconds(beganMs)}  ok    ${title}  (${seconds(tookMs).trim()})`);
      return answer;
    } catch (error) {
      this.#write(`${seconds(beganMs)}  FAIL  ${title}`);
      throw error;
    }
  }

  note(text: string): void {
    this.#write(`                ${text}`);
  }

  timeline(): void {
    const totalMs = Math.max(...this.#steps.map(({ beganMs, tookMs }) => beganMs + tookMs));
    const column = (ms: number) => Math.round((ms / totalMs) * BAR_COLUMNS);
    this.#write("");
    for (const { title, beganMs, tookMs } of this.#steps) {
      const from = Math.min(column(beganMs), BAR_COLUMNS - 1);
      const width = Math.max(1, column(beganMs + tookMs) - from);
      this.#write(`${seconds(tookMs)} |${" ".repeat(from)}${"#".repeat(width)}${" ".repeat(BAR_COLUMNS - from - width)}| ${title}`);
    }
    this.#write(`${seconds(totalMs)} in all`);
  }
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`.padStart(8);

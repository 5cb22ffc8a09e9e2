/**
 * Virtual time for a whole fleet in one thread. The next event runs only when nothing of the last one is left to do: the
 * queue of microtasks is empty when a tick runs, and no program waits for anything else of the real event loop.
 */
import { createHash } from "node:crypto";
import type { Timer } from "../../../lib/clock.ts";
import { Chance } from "./chance.ts";

type Pending = { atUs: number; order: number; run: (() => void) | undefined };

/** What must never be, was. */
export class Broken extends Error {
  override name = "Broken";
  readonly invariant: string;
  constructor(invariant: string, message: string) {
    super(message);
    this.invariant = invariant;
  }
}

const LINES_KEPT = 400;
const EVENTS_A_TURN = 256;

export class World {
  readonly seed: number;
  /** All that happened, for people; the whole of it only when asked for. */
  readonly lines: string[] = [];
  /** Set by the first thing that must not be. */
  broken: Broken | undefined;
  /** Whole microseconds, so that a timer is never a rounding away from its time. */
  #nowUs = 0;
  #order = 0;
  readonly #heap: Pending[] = [];
  readonly #hash = createHash("sha256");
  /** Of the trace, what the hash has not taken in yet. */
  #told = "";
  readonly #keepAll: boolean;

  constructor(seed: number, { keepAll = false }: { keepAll?: boolean } = {}) {
    this.seed = seed;
    this.#keepAll = keepAll;
  }

  get nowMs(): number {
    return this.#nowUs / 1_000;
  }

  chance(name: string): Chance {
    return new Chance(this.seed, name);
  }

  after(delayMs: number, run: () => void): Timer {
    const pending: Pending = { atUs: this.#nowUs + Math.ceil(Math.max(0, delayMs) * 1_000 - 1e-6), order: (this.#order += 1), run };
    this.#push(pending);
    return { cancel: () => (pending.run = undefined) };
  }

  /** Part of the trace: two runs of one seed say the same. */
  note(text: string): void {
    const line = `${this.nowMs.toFixed(3)} ${text}`;
    this.#told += line;
    this.lines.push(line);
    if (!this.#keepAll && this.lines.length > 2 * LINES_KEPT) this.lines.splice(0, LINES_KEPT);
  }

  /** Part of the trace, and not worth a line. */
  digest(text: string, bytes?: Uint8Array): void {
    this.#told += text;
    if (bytes) this.#hash.update(this.#taken()).update(bytes);
  }

  fail(invariant: string, message: string): void {
    if (this.broken) return;
    this.broken = new Broken(invariant, message);
    this.note(`BROKEN ${invariant}: ${message}`);
  }

  traceHash(): string {
    return this.#hash.update(this.#taken()).copy().digest("hex");
  }

  #taken(): string {
    const told = this.#told;
    this.#told = "";
    return told;
  }

  /** Lives until the time, or until something is broken. `check` is asked after each event. */
  async runUntil(untilMs: number, check: () => void): Promise<void> {
    await turned();
    let events = 0;
    while (!this.broken) {
      const next = this.#pop(untilMs * 1_000);
      if (!next) break;
      this.#nowUs = next.atUs;
      next.run?.();
      await drained();
      check();
      if ((events += 1) % EVENTS_A_TURN === 0) await turned();
    }
    if (!this.broken) this.#nowUs = untilMs * 1_000;
  }

  #pop(untilUs: number): Pending | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (!first || (first.run && first.atUs > untilUs)) return undefined;
      const last = this.#heap.pop()!;
      if (last !== first) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (first.run) return first;
    }
  }

  #push(pending: Pending): void {
    const heap = this.#heap;
    let at = heap.push(pending) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(pending, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = pending;
  }

  #sink(): void {
    const heap = this.#heap;
    const moving = heap[0]!;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) break;
      const child = left + 1 < heap.length && isBefore(heap[left + 1]!, heap[left]!) ? left + 1 : left;
      if (!isBefore(heap[child]!, moving)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = moving;
  }
}

const isBefore = (a: Pending, b: Pending): boolean => a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);

/** Every promise that can settle without the world has settled: a tick waits for all of them, as a turn does, and costs a third. */
const drained = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
/** What only the runtime waits for, such as messages to this process and memory that can go. */
const turned = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

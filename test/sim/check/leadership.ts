/**
 * A leader stops before the server would let another one begin: when the server lets a controller go because it was not
 * heard, that one decides no more. One that lies still is not asked, and a connection that broke is known to one side first:
 * what two then write for a moment loses by its versions.
 */
import type { Life } from "../world/life.ts";
import type { World } from "../world/world.ts";

/** What the programs say of it. */
const BEGINS = "this controller leads";
const ENDS = "this controller leads no more";
const LET_GO = "a controller stands no more";
/** Nearly as long as the server waits, as clocks differ. */
const SILENT_MS = 5_800;

export class Leadership {
  readonly #world: World;
  /** When the server last heard something of a program. */
  readonly #heardMs: (name: string) => number;
  readonly #leading = new Set<Life>();

  constructor(world: World, heardMs: (name: string) => number) {
    this.#world = world;
    this.#heardMs = heardMs;
  }

  /** The one that leads, if one does. */
  get leader(): Life | undefined {
    return [...this.#leading].findLast(({ dead }) => !dead);
  }

  /** A program logs something. */
  said(life: Life, text: string, about: unknown): void {
    if (text === ENDS) this.#leading.delete(life);
    if (text === LET_GO) this.#letGo((about as { candidate: string }).candidate);
    if (text !== BEGINS) return;
    this.#leading.add(life);
    this.#world.note(`${life.name} leads`);
  }

  #letGo(candidate: string): void {
    const silentMs = this.#world.nowMs - this.#heardMs(candidate);
    const still = [...this.#leading].some(({ name, running }) => name === candidate && running);
    if (still && silentMs > SILENT_MS) this.#world.fail("LEADERSHIP", `${candidate} was not heard for ${Math.round(silentMs)} ms and is let go, and still leads`);
  }
}

/**
 * Which machine has which MAC address and firmware UUID. Each is a record of its own, taken by compare-and-set before the
 * machine is recorded, so that of two that want one only one comes to be, and given back when nothing of the machine uses
 * it any more. A machine and its run share a name, and thereby what they have.
 */
import { ObjectReference } from "../../gen/drover/v1/event.ts";
import { FailedPrecondition, type Precondition } from "../../lib/errors.ts";
import { keyOf, type Kind, metaOf, type Resource, storeKey, storePrefix } from "../kinds/kind.ts";
import type { Identifier, IdentifierType } from "../kinds/machine/identifiers.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import { Conflict, type Store, type Stored } from "../store/store.ts";

/** What becomes of an object: it comes, changes or goes. */
export type Step<T extends Resource> = { kind: Kind<T>; before?: T | undefined; after?: T | undefined };

const PREFIX = "identifiers/";
const PAGE = 500;
const REASONS: Record<IdentifierType, string> = { mac: "DUPLICATE_MAC_ADDRESS", firmware: "DUPLICATE_FIRMWARE_UUID" };

export class Identifiers {
  readonly #store: Store;
  /** The end of the last step of each machine: what one gives back, another one of the same machine may be about to use. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Throws FailedPrecondition when another machine has one of the object's. */
  async check<T extends Resource>(kind: Kind<T>, object: T): Promise<void> {
    const identifiers = kind.identifiers?.(object) ?? [];
    const holders = await Promise.all(identifiers.map(async (each) => holderIn(await this.#store.get(recordOf(each)))));
    const own = machineOf(object);
    const taken = identifiers.flatMap((each, i) => {
      const holder = holders[i];
      return holder === undefined || holder === own ? [] : [duplicate(kind, object, { ...each, holder })];
    });
    if (taken.length > 0) throw new FailedPrecondition(taken);
  }

  /** Records a step; nothing is recorded when another machine has what it would take. */
  async during<T extends Resource, R>(step: Step<T>, record: () => Promise<R>): Promise<R> {
    const { kind, before, after } = step;
    const [had, wants] = [before, after].map((object) => (object && kind.identifiers?.(object)) ?? []) as [Identifier[], Identifier[]];
    const gains = wants.filter((each) => !includes(had, each));
    const losses = had.filter((each) => !includes(wants, each));
    const object = after ?? before;
    if (!object || gains.length + losses.length === 0) return record();
    return this.#inTurn(machineOf(object), async () => {
      let over = gains;
      try {
        if (gains.length > 0) await this.#take(kind, object, gains);
        const recorded = await record();
        over = losses;
        return recorded;
      } finally {
        // What cannot be given back now is found when it is next tidied; the step itself is decided.
        await this.#giveBack(machineOf(object), over.map(recordOf)).catch(() => undefined);
      }
    });
  }

  /** Puts right what a crash between two records left, either way. */
  async tidy(signal: AbortSignal): Promise<void> {
    const held = new Map<string, string>();
    for await (const stored of this.#all(PREFIX)) held.set(stored.key, holderIn(stored)!);
    const used = new Map<string, string>();
    for (const form of FORMS) {
      for await (const { value } of this.#all(form.prefix)) {
        const { machine, records } = form.read(value);
        for (const record of records) used.set(record, machine);
      }
    }
    for (const [record, machine] of held) {
      if (signal.aborted) return;
      if (used.get(record) !== machine) await this.#inTurn(machine, () => this.#giveBack(machine, [record]));
    }
    for (const [record, machine] of used) {
      if (signal.aborted) return;
      if (!held.has(record)) await this.#inTurn(machine, () => this.#takeIfUsed(machine, record));
    }
  }

  /**
   * In an order that all share, and no further than the first that is gone: of those who want some of the same, one gets
   * all of its own.
   */
  async #take<T extends Resource>(kind: Kind<T>, object: T, wanted: Identifier[]): Promise<void> {
    await this.check(kind, object);
    const own = machineOf(object);
    for (const each of wanted.toSorted((a, b) => (recordOf(a) < recordOf(b) ? -1 : 1))) {
      const holder = await this.#claim(recordOf(each), own);
      if (holder !== own) throw new FailedPrecondition([duplicate(kind, object, { ...each, holder })]);
    }
  }

  /** Who has it in the end. */
  async #claim(key: string, machine: string): Promise<string> {
    for (;;) {
      const holder = holderIn(await this.#store.get(key));
      if (holder !== undefined) return holder;
      try {
        await this.#store.commit({ key, expected: null, value: ObjectReference.encode(referenceTo(machine)).finish() });
      } catch (error) {
        if (!(error instanceof Conflict)) throw error;
      }
    }
  }

  async #takeIfUsed(machine: string, record: string): Promise<void> {
    if ((await this.#usedBy(machine)).has(record)) await this.#claim(record, machine);
  }

  async #giveBack(machine: string, records: string[]): Promise<void> {
    if (records.length === 0) return;
    const used = await this.#usedBy(machine);
    for (const key of records.filter((record) => !used.has(record))) {
      const stored = await this.#store.get(key);
      if (stored && holderIn(stored) === machine) await this.#store.commit({ key, expected: stored.revision, value: null });
    }
  }

  async #usedBy(machine: string): Promise<Set<string>> {
    const found = await Promise.all(FORMS.map(async (form) => {
      const stored = await this.#store.get(form.key(machine));
      return stored ? form.read(stored.value).records : [];
    }));
    return new Set(found.flat());
  }

  async *#all(prefix: string): AsyncGenerator<Stored> {
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list(prefix, { limit: PAGE, ...(after !== undefined && { after }) });
      yield* page.items;
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  #inTurn<R>(machine: string, run: () => Promise<R>): Promise<R> {
    const turn = (this.#turns.get(machine) ?? Promise.resolve()).then(run);
    const settled = turn.then(() => undefined, () => undefined);
    this.#turns.set(machine, settled);
    void settled.then(() => this.#turns.get(machine) === settled && this.#turns.delete(machine));
    return turn;
  }
}

/** The two objects that a machine may be recorded as. */
const FORMS = [formOf(virtualMachines), formOf(virtualMachineInstances)];

function formOf<T extends Resource>(kind: Kind<T>) {
  return {
    prefix: storePrefix(kind),
    key: (machine: string) => storeKey(kind, referenceTo(machine)),
    read(value: Uint8Array) {
      const object = kind.codec.decode(value);
      return { machine: machineOf(object), records: (kind.identifiers?.(object) ?? []).map(recordOf) };
    },
  };
}

const recordOf = ({ type, value }: Identifier): string => `${PREFIX}${type}/${value}`;
const includes = (list: Identifier[], { type, value }: Identifier) => list.some((each) => each.type === type && each.value === value);

/** Such as "default/web". */
function machineOf(object: Resource): string {
  const { namespace, name } = metaOf(object);
  return `${namespace}/${name}`;
}

function referenceTo(machine: string): ObjectReference {
  const slash = machine.indexOf("/");
  return ObjectReference.create({ kind: virtualMachines.name, namespace: machine.slice(0, slash), name: machine.slice(slash + 1) });
}

function holderIn(stored: Stored | undefined): string | undefined {
  if (!stored) return undefined;
  const { namespace, name } = ObjectReference.decode(stored.value);
  return `${namespace}/${name}`;
}

function duplicate<T extends Resource>(kind: Kind<T>, object: T, { type, value, path, holder }: Identifier & { holder: string }): Precondition {
  const message = `${kind.field}.${path}: ${JSON.stringify(value)} belongs to the machine "${holder}"`;
  return { type: REASONS[type], subject: storeKey(kind, keyOf(object)), message };
}

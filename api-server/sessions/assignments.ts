/**
 * Tells every session which instances concern its node. One watch over all instances feeds all sessions; a session
 * begins with everything, then Synced, then changes.
 */
import { AssignmentRole } from "../../gen/drover/agent/v1/agent.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { backoffMs, RECONNECT } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import type { Random } from "../../lib/random.ts";
import type { WatchEvent } from "../objects.ts";
import type { Outbox } from "./outbox.ts";
import { nodesOf, roleOf } from "./roles.ts";

type Instance = VirtualMachineInstance;
type Listener = (instance: Instance | undefined) => void;

export type AssignmentsParts = {
  /** Every instance with its secrets: all present ones first, then a bookmark, then changes. */
  watch: (signal: AbortSignal) => AsyncIterable<WatchEvent<Instance>>;
  clock: Clock;
  random: Random;
  log: Logger;
};

export class Assignments {
  readonly #parts: AssignmentsParts;
  #instances = new Map<string, Instance>();
  #synced = false;
  readonly #outboxes = new Map<string, Outbox>();
  readonly #listeners = new Map<string, Set<Listener>>();

  constructor(parts: AssignmentsParts) {
    this.#parts = parts;
  }

  /** Runs until the signal aborts; a watch that breaks is begun again, and only the differences are told. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, log } = this.#parts;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      try {
        if (await this.#follow(signal)) attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error }, "the watch that feeds the sessions broke");
      }
      await delay(clock, backoffMs(RECONNECT, attempt + 1, random.fraction()), signal).catch(() => undefined);
    }
  }

  /** The node's present instances, then Synced, then changes go to the outbox until another one takes its place. */
  subscribe(node: string, outbox: Outbox): void {
    this.#outboxes.set(node, outbox);
    if (this.#synced) this.#snapshot(node, outbox);
  }

  unsubscribe(node: string, outbox: Outbox): void {
    if (this.#outboxes.get(node) === outbox) this.#outboxes.delete(node);
  }

  /** Every instance, as far as the watch has come. */
  all(): Instance[] {
    return [...this.#instances.values()];
  }

  /** The instances that concern the node, as far as the watch has come. */
  concerning(node: string): Instance[] {
    return [...this.#instances.values()].filter((instance) => roleOf(instance, node) !== undefined);
  }

  /** Calls the listener with every later state of an instance, undefined when it is gone. */
  listen(uid: string, listener: Listener): Disposable {
    const listeners = this.#listeners.get(uid) ?? new Set();
    this.#listeners.set(uid, listeners.add(listener));
    return {
      [Symbol.dispose]: () => {
        listeners.delete(listener);
        if (listeners.size === 0) this.#listeners.delete(uid);
      },
    };
  }

  /** True when it got as far as the first bookmark. */
  async #follow(signal: AbortSignal): Promise<boolean> {
    const present = new Map<string, Instance>();
    let caughtUp = false;
    for await (const event of this.#parts.watch(signal)) {
      if (event.type === "bookmark") {
        if (!caughtUp) this.#replace(present);
        caughtUp = true;
      } else if (caughtUp) {
        this.#apply(event.object, event.type === "deleted" ? undefined : event.object);
      } else if (event.type === "deleted") {
        present.delete(keyOf(event.object));
      } else {
        present.set(keyOf(event.object), event.object);
      }
    }
    return caughtUp;
  }

  #replace(present: Map<string, Instance>): void {
    const known = [...this.#instances.values()];
    for (const instance of known) if (!present.has(keyOf(instance))) this.#apply(instance, undefined);
    for (const instance of present.values()) this.#apply(instance, instance);
    if (this.#synced) return;
    this.#synced = true;
    for (const [node, outbox] of this.#outboxes) this.#snapshot(node, outbox);
  }

  #apply(named: Instance, after: Instance | undefined): void {
    const key = keyOf(named);
    const before = this.#instances.get(key);
    if (after) this.#instances.set(key, after);
    else this.#instances.delete(key);
    if (before?.metadata?.resourceVersion === after?.metadata?.resourceVersion) return;
    if (this.#synced) this.#tell(before, after);
    for (const instance of changed(before, after)) {
      for (const listener of this.#listeners.get(instance.uid) ?? []) listener(instance.now);
    }
  }

  #tell(before: Instance | undefined, after: Instance | undefined): void {
    for (const node of new Set([...nodesOf(before), ...nodesOf(after)])) {
      const outbox = this.#outboxes.get(node);
      if (!outbox) continue;
      const role = after && roleOf(after, node);
      const replaced = before && before.metadata!.uid !== after?.metadata?.uid;
      if (before && roleOf(before, node) !== undefined && (replaced || role === undefined)) withdraw(outbox, before);
      if (after && role !== undefined) assign(outbox, after, role);
    }
  }

  #snapshot(node: string, outbox: Outbox): void {
    for (const instance of this.#instances.values()) {
      const role = roleOf(instance, node);
      if (role !== undefined) assign(outbox, instance, role);
    }
    outbox.put("synced", { $case: "synced", value: {} });
  }
}

const keyOf = ({ metadata }: Instance): string => `${metadata!.namespace}/${metadata!.name}`;

function changed(before: Instance | undefined, after: Instance | undefined): { uid: string; now: Instance | undefined }[] {
  const gone = before && before.metadata!.uid !== after?.metadata?.uid ? [{ uid: before.metadata!.uid, now: undefined }] : [];
  return after ? [...gone, { uid: after.metadata!.uid, now: after }] : gone;
}

function assign(outbox: Outbox, instance: Instance, role: AssignmentRole): void {
  const visible = role === AssignmentRole.OUTGOING ? withoutSecrets(instance) : instance;
  outbox.put(`instance/${instance.metadata!.uid}`, { $case: "assignment", value: { instance: visible, role } });
}

function withdraw(outbox: Outbox, { metadata }: Instance): void {
  const { namespace, name, uid } = metadata!;
  outbox.put(`instance/${uid}`, { $case: "withdrawn", value: { namespace, name, vmiUid: uid } });
}

/** A source that has handed its machine over has no more use for them. */
function withoutSecrets(instance: Instance): Instance {
  if (!instance.spec) return instance;
  const volumes = instance.spec.volumes.map((volume) => {
    if (volume.source?.$case !== "cloudInitNoCloud") return volume;
    const { userData, networkData, ...rest } = volume.source.value;
    const hide = (secret: typeof userData) => secret && { ...secret, value: "" };
    const value = { ...rest, userData: hide(userData), networkData: hide(networkData) };
    return { ...volume, source: { $case: "cloudInitNoCloud" as const, value } };
  });
  return { ...instance, spec: { ...instance.spec, volumes } };
}

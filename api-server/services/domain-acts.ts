/**
 * Pause, unpause and reset: no record asks for them, the owner's node does them at once over its session. The event that tells
 * of it is what a repeat of the request is answered with; between the act and that commit the agent's own memory keeps it single.
 */
import type { Event } from "../../gen/drover/v1/event.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { deadline, delay } from "../../lib/clock.ts";
import type { Clock } from "../../lib/clock.ts";
import { FailedPrecondition, NotFound, Unavailable } from "../../lib/errors.ts";
import { events } from "../kinds/event.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Call, Objects } from "../objects.ts";
import { recordEvent } from "../records/events.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import type { Store } from "../store/store.ts";
import { actPreconditions, eventOf, inTheWay, refusalOf, rowOf } from "../subresources/domain-act.ts";
import type { Verb } from "../subresources/domain-act.ts";
import { plain } from "../subresources/untrusted.ts";
import { missingRun, openMigrations } from "./migration-admission.ts";
import { cancelMigrationOf, UNJOURNALED } from "./migration-verbs.ts";

export type DomainActParts = { objects: Objects; store: Store; sessions: NodeSessions; clock: Clock };
type Key = { namespace: string; name: string };

const ANSWER_MS = 10_000;
const MIGRATION_ENDS_MS = 15_000;
const LOOK_EVERY_MS = 100;

export async function actOnMachine(parts: DomainActParts, { verb, key, call }: { verb: Verb; key: Key; call: Call }): Promise<Event> {
  const replayed = await parts.objects.replayed(events, call);
  if (replayed) return replayed;
  // The act is the caller's; what it takes is told by it.
  const { trail: _trail, ...untold } = call;
  const found = await permitted(parts, verb, key);
  const instance = call.validateOnly ? found : await settled(parts, { verb, key, found, call: untold });
  if (!call.validateOnly) await ask(parts, { verb, instance, call });
  return recordEvent(parts, eventOf(verb, instance), untold);
}

async function permitted({ objects }: DomainActParts, verb: Verb, key: Key): Promise<VirtualMachineInstance> {
  const [vm, instance] = await Promise.all([objects.find(virtualMachines, key), objects.find(virtualMachineInstances, key)]);
  if (!instance) throw missingRun(vm, key);
  const found = actPreconditions(verb, instance);
  if (found.length > 0) throw new FailedPrecondition(found);
  return instance;
}

type Settling = { verb: Verb; key: Key; found: VirtualMachineInstance; call: Call };

/** The record when no migration is in the way any more: none that could still begin, none that could still fail. */
async function settled(parts: DomainActParts, { verb, key, found, call }: Settling): Promise<VirtualMachineInstance> {
  if (!rowOf(verb).endsMigration) return found;
  const { objects, clock } = parts;
  const open = await openMigrations(objects, key);
  for (const { metadata } of open) await cancelMigrationOf(objects, { namespace: key.namespace, name: metadata!.name }, { ...call, ...UNJOURNALED }).catch(unlessEnded);
  if (open.length === 0 && !inTheWay(found)) return found;
  using limit = deadline(clock, MIGRATION_ENDS_MS, call.signal);
  for (;;) {
    const instance = await permitted(parts, verb, key);
    if (!inTheWay(instance)) return instance;
    await delay(clock, LOOK_EVERY_MS, limit.signal).catch(() => {
      throw new Unavailable("The machine's migration was cancelled and has not ended yet: say it again", { reason: "MIGRATION_STILL_OPEN" });
    });
  }
}

/** One that has just ended is as good as cancelled; a refusal because of post-copy is the caller's to know. */
function unlessEnded(error: unknown): void {
  const ended = error instanceof NotFound || (error instanceof FailedPrecondition && error.info.reason === "ENDED");
  if (!ended) throw error;
}

async function ask({ sessions }: DomainActParts, { verb, instance, call }: { verb: Verb; instance: VirtualMachineInstance; call: Call }): Promise<void> {
  const { nodeName, epoch } = instance.status!;
  const value = { vmiUid: instance.metadata!.uid, epoch, act: rowOf(verb).act, requestId: call.requestId, timeoutMs: ANSWER_MS };
  const { error, act } = await sessions.ask(nodeName, { $case: "actOnDomain", value }, ANSWER_MS);
  if (error !== "" || !act) throw new Unavailable(`"${nodeName}" could not do it: ${plain(error) || "it gave no answer"}`, { reason: "NODE_FAILED", metadata: { node: nodeName } });
  const refusal = refusalOf(verb, instance, act);
  if (refusal) throw refusal;
}
